"""Detection in any number of pictures, in one process or on a Ray cluster, exactly once.

The stages are: list (`listing`, kept in a `plan`), read (`reading`), decode and detect (`stages`), write (`results`).
`runners` and `on_ray` run the same stages. The reasons are in docs/decisions/0018-batch.md.
"""
