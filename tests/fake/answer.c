/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A stray write to what a vCPU keeps at hand of its sealed model, for a test image alone. The linker
 * puts this in the place of models_print_digest() (tests/tests.mk).
 */
#include "kernel/models.h"
#include "kernel/vm.h"

void __real_models_print_digest(void);
void __wrap_models_print_digest(void);

void __wrap_models_print_digest(void)
{
    vm.vcpu[vm.vcpu_count - 1]->dynamic.answer[DYNAMIC_STRUCTURED].ebx ^= 1;
    __real_models_print_digest();
}
