"""Speed, memory and start of xpose beside other systems, on the same pictures in one run.

    python -m benchmarks.peers --quick       # a few minutes: creates the environments and tries everything once
    python -m benchmarks.peers               # the figures of docs/benchmarks.md
    python -m benchmarks.peers --resume      # continue after an interruption
    python -m benchmarks.peers --only people # measure only the comparisons with this in their names

Every contestant runs in a child process with a fixed number of threads (and, on Linux, of cores). The contestants of a
comparison take turns, A B C A B C ..., so that other load on the machine affects all of them. Systems other than xpose
run in virtual environments that the command creates below out/ and reuses. A contestant that fails becomes a row with
the reason.
"""
