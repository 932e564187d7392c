/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/bench/payload/bench.h"

int main(void)
{
    rows_begin();
    if (boot_word("processors", NULL)) {
        measure_processors();
    } else {
        measure_instructions();
        measure_first_touch();
        measure_model();
        measure_paging();
        measure_interrupts();
    }
    return 0;
}
