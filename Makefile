# SPDX-License-Identifier: BSD-2-Clause
#
# `make help` lists the targets. Everything that is made lands under build/.

MAKEFLAGS += -j$(shell nproc) --no-print-directory
.DELETE_ON_ERROR:
.SECONDARY:

B := build
PYTHON := /usr/bin/python3

.PHONY: all
all: $(B)/latch.elf payloads $(B)/initramfs.gz

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18 | sort

include iso/setup.mk
include kernel/kernel.mk
include tests/tests.mk
include tests/fuzz.mk
include tests/proofs.mk
include tests/bench.mk
include tests/report.mk
include iso/iso.mk

.PHONY: run
run: all ## boot the Debian guest under Latch in an emulator (ARGS="..." for iso/run)
	@iso/run $(ARGS)

.PHONY: gdb
gdb: all ## the same under QEMU, stopped at Latch's entry, with gdb attached
	@iso/gdb $(ARGS)

CLANG_FORMATTED = $(wildcard $(foreach d,kernel svm vmx mmu cpuid tests/*,$(d)/*.c $(d)/*.h) \
    tests/guest/*/*.[ch] tests/bench/*/*.[ch])

.PHONY: format
format: $(SETUP) ## clang-format over all C
	@clang-format -i $(CLANG_FORMATTED)

.PHONY: clean
clean: ## remove build/
	@rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
