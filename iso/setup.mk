# SPDX-License-Identifier: BSD-2-Clause
#
# What is not ours: packages, the C library in two forms, the default guest's kernel. Each is done
# once; the stamps are newer than the scripts that make them.

SETUP := $(B)/setup.stamp
NEWLIB_KERNEL := $(B)/newlib/kernel
NEWLIB_GUEST := $(B)/newlib/guest

.PHONY: setup
setup: $(SETUP) $(NEWLIB_KERNEL)/stamp $(NEWLIB_GUEST)/stamp $(B)/debian/stamp ## packages, newlib, guest kernel

$(SETUP): iso/setup
	@mkdir -p $(@D)
	@iso/setup
	@touch $@

$(B)/newlib/%/stamp: iso/newlib iso/newlib-heap.c | $(SETUP)
	@echo "newlib ($*), once"
	@iso/newlib $* $(@D)
	@touch $@

$(B)/debian/stamp: iso/debian | $(SETUP)
	@echo "the default guest's kernel and busybox, once"
	@iso/debian $(@D)
	@touch $@
