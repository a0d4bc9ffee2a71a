"""What our way costs beside other ways of doing the same work: `make bench`, or `python -m benchmarks --only stage`.

Outside the package: nothing in `arith_hf` may know this folder. README.md says what the two arms of each row are.
"""
