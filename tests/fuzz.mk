# SPDX-License-Identifier: BSD-2-Clause
#
# The fuzzers: one for each tests/fuzz/fuzz_*.c, by clang's libFuzzer, over the same pure files as
# the unit tests. Page tables get FUZZ_TREES, half of them by each of two jobs with a seed of its
# own; all else runs FUZZ_SECONDS. Each keeps its corpus under build/.

FUZZ_SECONDS ?= 60
FUZZ_TREES ?= 10000000
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_FLAGS := -std=gnu17 -O1 -g -Wall -Wextra -fsanitize=address,undefined \
    -fno-sanitize-recover=undefined -I. -isystem $(GNULIB)

# What waits for other CPUs, and the bench's monitor, have unit tests that stand for what is around
# them; no fuzzer does.
FUZZ_SOURCES := $(filter-out kernel/vm_call.c $(MONITOR_PURE),$(HOST_SOURCES))

.PHONY: fuzz-programs
fuzz-programs: $(FUZZERS)

.PHONY: fuzz
fuzz: $(FUZZERS:%=%.run) ## FUZZ_TREES page tables (default ten million); all else FUZZ_SECONDS (60)

$(B)/fuzz-obj/%.c.o: %.c | $(SETUP) $(GNULIB)/stamp
	@mkdir -p $(@D)
	@clang $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@

$(B)/fuzz/%: $(B)/fuzz-obj/tests/fuzz/%.c.o $(FUZZ_SOURCES:%=$(B)/fuzz-obj/%.o) \
    $(REFERENCE_C:%=$(B)/fuzz-obj/%.o)
	@mkdir -p $(@D)
	@clang $(FUZZ_FLAGS) -fsanitize=fuzzer $^ -o $@

fuzz_in_time = $(1) -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(1). $(1).corpus >$(1).log 2>&1
fuzz_trees = $(1) -runs=$$(($(FUZZ_TREES) / 2)) -artifact_prefix=$(1).$(2). -seed=$(2) \
    $(1).corpus.$(2) >$(1).$(2).log 2>&1

.PHONY: $(FUZZERS:%=%.run)
$(filter-out %/fuzz_mmu.run,$(FUZZERS:%=%.run)): %.run: %
	@mkdir -p $<.corpus
	@$(call fuzz_in_time,$<) || { tail -n 40 $<.log >&2; false; }
	@echo "$(notdir $<): $$(grep -a '^Done ' $<.log)"

.PHONY: $(B)/fuzz/fuzz_mmu.run
$(B)/fuzz/fuzz_mmu.run: $(B)/fuzz/fuzz_mmu
	@rm -rf $<.corpus.1 $<.corpus.2; mkdir -p $<.corpus.1 $<.corpus.2
	@$(call fuzz_trees,$<,1) & $(call fuzz_trees,$<,2); second=$$?; wait $$!; first=$$?; \
	    [ $$first = 0 ] && [ $$second = 0 ] || { tail -n 40 $<.1.log $<.2.log >&2; exit 1; }
	@grep -ah '^fuzz_mmu: ' $<.1.log $<.2.log
