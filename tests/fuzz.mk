# SPDX-License-Identifier: BSD-2-Clause
#
# The fuzzers: one for each tests/fuzz/fuzz_*.c, by clang's libFuzzer, over the same pure files as
# the unit tests. Each runs FUZZ_SECONDS and keeps its corpus under build/.

FUZZ_SECONDS ?= 60
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_FLAGS := -std=gnu17 -O1 -g -Wall -Wextra -fsanitize=address,undefined \
    -fno-sanitize-recover=undefined -I. -isystem $(GNULIB)

.PHONY: fuzz-programs
fuzz-programs: $(FUZZERS)

.PHONY: fuzz
fuzz: $(FUZZERS:%=%.run) ## each fuzzer for FUZZ_SECONDS (default 60)

$(B)/fuzz-obj/%.c.o: %.c | $(SETUP) $(GNULIB)/stamp
	@mkdir -p $(@D)
	@clang $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@

$(B)/fuzz/%: $(B)/fuzz-obj/tests/fuzz/%.c.o $(HOST_SOURCES:%=$(B)/fuzz-obj/%.o) \
    $(REFERENCE_C:%=$(B)/fuzz-obj/%.o)
	@mkdir -p $(@D)
	@clang $(FUZZ_FLAGS) -fsanitize=fuzzer $^ -o $@

.PHONY: $(FUZZERS:%=%.run)
$(FUZZERS:%=%.run): %.run: %
	@mkdir -p $<.corpus
	@$< -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$<. $<.corpus >$<.log 2>&1 || \
	    { tail -n 40 $<.log >&2; false; }
	@echo "$(notdir $<): $$(grep -a '^Done ' $<.log)"
