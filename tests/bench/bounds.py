# SPDX-License-Identifier: BSD-2-Clause
"""What an exit of Latch's may cost at most, in instructions: {machine: {row: bound}}.

The figures of the bench's guest, which repeat to the instruction, are held against it wherever that
guest boots in the suite. QEMU's CPU has no next-RIP saving, so instructions are decoded there.
"""

# Bochs' AMD CPU saves next-RIP.
SVM, VMX, DECODED = 80, 110, 300
GENERAL = ["cpuid-0", "cpuid-1", "cpuid-7", "cpuid-d", "cpuid-d-1", "cpuid-80000008",
           "cpuid-80000026", "cpuid-40000000", "hypercall", "rdmsr-8b"]
BOUNDS = {machine: dict.fromkeys(GENERAL, bound) for machine, bound in
          {"qemu-amd": DECODED, "bochs-intel": VMX, "bochs-amd": SVM}.items()}
# No leaf is found by a search that takes longer the further it is.
NO_DEARER = ("cpuid-80000026", "cpuid-0")


def broken(machine, rows):
    """What is not kept, as text, by {row: median}."""
    text = [f"{row}: {rows[row]} instructions, at most {bound} wanted"
            for row, bound in BOUNDS[machine].items() if rows[row] > bound]
    far, near = (rows[name] for name in NO_DEARER)
    if far > near:
        text.append(f"{NO_DEARER[0]}: {far} instructions, {NO_DEARER[1]}: {near}")
    return text
