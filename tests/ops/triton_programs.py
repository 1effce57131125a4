"""Compiles every Triton kernel of the project for one generation of GPUs; needs no GPU. Run by test_triton.py.

python tests/ops/triton_programs.py 90
"""

import sys

import triton
from triton.backends.compiler import GPUTarget

from ogreid.ops.kernels import edges_triton, groups_triton, points_triton

FLOATS = """
    source sign most total every largest axes distance centers square points affine reduce reduce_bias expand passed
    sums squares weight gradient back parts biases values out
"""
INTEGERS = "graph index edges first"
POINTERS = {
    **dict.fromkeys(FLOATS.split(), "*fp32"),
    **dict.fromkeys(INTEGERS.split(), "*i64"),
    "slot": "*u8",
    "degree": "*i32",
}
INDICES = ("_farthest_kernel", "_nearest_kernel", "_ball_kernel")
"""Kernels whose ``out`` are indices of points."""
SIZES = {"ROWS": 32, "COLUMNS": 64, "BLOCK": 4096, "COUNT": 32, "MEMBERS": 32, "CHANNELS": 64, "RESULTS": 32}


def program(kernel, target, precision):
    """The machine code of one kernel at usual sizes."""
    signature, constants = {}, {}
    for name in kernel.arg_names:
        if name.isupper():
            constants[name] = {"GATED": True, "PRECISION": precision}.get(name) or SIZES[name]
            signature[name] = "constexpr"
        else:
            signature[name] = POINTERS.get(name, "i32")
    if kernel.__name__ in INDICES:
        signature["out"] = "*i64"
    compiled = triton.compile(triton.compiler.ASTSource(kernel, signature, constants), target=target)
    return compiled.asm["cubin"]


def main():
    target = GPUTarget("cuda", int(sys.argv[1]), 32)
    for module in (edges_triton, groups_triton, points_triton):
        for name, kernel in vars(module).items():
            if name.endswith("_kernel") and kernel.__module__ == module.__name__:
                for precision in ("ieee", "tf32") if "PRECISION" in kernel.arg_names else ("ieee",):
                    sys.stdout.write(f"{name} {precision} {len(program(kernel, target, precision))}\n")


if __name__ == "__main__":
    main()
