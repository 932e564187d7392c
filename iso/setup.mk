# SPDX-License-Identifier: BSD-2-Clause
#
# What is not ours: packages, the C library in two forms, SHA-256, the default guest's kernel. Each
# is done once; the stamps are newer than the scripts that make them.

SETUP := $(B)/setup.stamp
GNULIB := $(B)/gnulib
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

# SHA-256, as source: Debian's archives of it are compiled with vector instructions, which Latch
# may not use, and gnulib's modules are meant to be compiled into other programs.
$(GNULIB)/stamp: iso/setup.mk | $(SETUP)
	@mkdir -p $(@D)
	@cp /usr/share/gnulib/lib/sha256.c /usr/share/gnulib/lib/sha256.h $(@D)
	@cp /usr/share/gnulib/lib/byteswap.in.h $(@D)/byteswap.h
	@echo '#include <stdalign.h>' > $(@D)/config.h
	@touch $@

$(GNULIB)/sha256.c: $(GNULIB)/stamp ;

$(B)/debian/stamp: iso/debian | $(SETUP)
	@echo "the default guest's kernel and busybox, once"
	@iso/debian $(@D)
	@touch $@
