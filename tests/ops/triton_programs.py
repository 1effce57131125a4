"""Compiles every Triton kernel of the project for one generation of GPUs; needs no GPU. Run by test_triton.py.

python tests/ops/triton_programs.py 90
"""

import sys

import triton
from triton.backends.compiler import GPUTarget

from ogreid.ops.kernels import edges_triton, group_kernels_triton, points_triton

FLOATS = """
    source sign most every largest axes distance centers square points affine reduce reduce_bias expand passed sums
    squares weight gradient back parts biases values out
"""
INTEGERS = "graph kept found index edges first"
POINTERS = {
    **dict.fromkeys(FLOATS.split(), "*fp32"),
    **dict.fromkeys(INTEGERS.split(), "*i64"),
    "slot": "*u8",
    "degree": "*i32",
}
NUMBERS = ("_farthest_kernel", "_nearest_kernel", "_ball_kernel", "_gather_kernel", "_scatter_kernel")
"""Kernels whose ``points`` is how many there are."""
SIZES = {"ROWS": 32, "COLUMNS": 64, "BLOCK": 4096, "COUNT": 32, "MEMBERS": 32, "CHANNELS": 64, "RESULTS": 32}


def program(kernel, target, precision):
    """The machine code of one kernel at usual sizes."""
    signature, constants, name_of = {}, {}, kernel.__name__
    for name in kernel.arg_names:
        if name.isupper():
            constants[name] = {"GATED": True, "PRECISION": precision}.get(name) or SIZES[name]
            signature[name] = "constexpr"
        elif name == "points" and name_of in NUMBERS:
            signature[name] = "i32"
        elif name == "total" and name_of == "_gather_kernel":
            signature[name] = "*fp32"
        else:
            signature[name] = POINTERS.get(name, "i32")
    made = triton.compile(triton.compiler.ASTSource(kernel, signature, constants), target=target)
    return made.asm["cubin"]


def main():
    target = GPUTarget("cuda", int(sys.argv[1]), 32)
    for module in (edges_triton, group_kernels_triton, points_triton):
        for name, kernel in vars(module).items():
            if name.endswith("_kernel") and kernel.__module__ == module.__name__:
                for precision in ("ieee", "tf32") if "PRECISION" in kernel.arg_names else ("ieee",):
                    sys.stdout.write(f"{name} {precision} {len(program(kernel, target, precision))}\n")


if __name__ == "__main__":
    main()
