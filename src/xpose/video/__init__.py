"""Objects followed through a video: frames in, poses with track ids, tables, drawings and a report out.

`sources.py` reads frames, `tracker.py` gives the objects of each frame their track ids, `timeline.py` interpolates and
smooths, `pipeline.py` connects them with a detector. `tables.py`, `annotated.py` and `report.py` write results, and
`journal.py` records what an interrupted run has found. The network is not used here: the detector is an argument.
"""
