/* SPDX-License-Identifier: BSD-2-Clause */
/* The instruction decoder: what it accepts it accepts in exactly that length. */
#include "kernel/insn.h"
#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum insn_mode modes[] = {INSN_MODE_16, INSN_MODE_32, INSN_MODE_64};
    uint64_t gpr[16] = {0};
    struct insn insn;

    for (unsigned i = 0; i < 3; i++) {
        int error = insn_decode(data, size, modes[i], &insn);
        check(error == 0 || error == -ENODATA || error == -EOPNOTSUPP || error == -EINVAL);
        check(error != -ENODATA || size < INSN_LENGTH_MAX);
        if (error == 0) {
            struct insn again;
            check(insn.length > 0 && insn.length <= INSN_LENGTH_MAX && insn.length <= size);
            check(insn_decode(data, insn.length, modes[i], &again) == 0);
            check(again.length == insn.length && again.kind == insn.kind);
            check(insn_decode(data, insn.length - 1U, modes[i], &again) == -ENODATA);
            check(insn.base < 16 || insn.base == INSN_NO_REGISTER);
            check(insn.index < 16 || insn.index == INSN_NO_REGISTER);
            check(insn.reg < 16 || insn.reg == INSN_NO_REGISTER);
            check(insn.rm < 16 || insn.rm == INSN_NO_REGISTER);
            insn_offset(&insn, gpr, 0);
        }
    }
    return 0;
}
