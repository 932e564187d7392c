# SPDX-License-Identifier: BSD-2-Clause
#
# The bench: its guest, the stubs and the peers that it is compared with. Nothing of it is needed
# for anything else.

BENCH := $(B)/bench
BENCH_C := $(wildcard tests/bench/payload/*.c tests/bench/null/*.c)
BENCH_ROWS := $(filter-out %/main.c,$(wildcard tests/bench/payload/*.c tests/bench/payload/*.asm))
BENCH_LINK := ld -nostdlib -static -z max-page-size=4096 -z noexecstack \
    -T tests/guest/lib/payload.ld

$(BENCH)/payload.elf: $(B)/guest-obj/tests/bench/payload/main.c.o
$(BENCH)/null.elf: $(patsubst %,$(B)/guest-obj/%.o,$(wildcard tests/bench/null/*.c \
    tests/bench/null/*.asm))

$(BENCH)/payload.elf $(BENCH)/null.elf: $(BENCH_ROWS:%=$(B)/guest-obj/%.o) $(PAYLOAD_LIB_OBJECTS) \
    tests/guest/lib/payload.ld
	@mkdir -p $(@D)
	@$(BENCH_LINK) -o $@ $(filter %.o,$^) --start-group $(NEWLIB_GUEST)/lib/libc.a \
	    $(shell $(CC) -print-libgcc-file-name) --end-group

# --- KVM: Debian's modules, and a monitor of ours, in an initramfs

BENCH_KVM_C := $(wildcard tests/bench/kvm/*.c tests/bench/entry/*.c)
BENCH_WHOLE_C := $(wildcard tests/bench/whole/*.c)
BENCH_LINUX_C := $(BENCH_KVM_C) $(BENCH_WHOLE_C)
BENCH_KVM_FLAGS := -std=gnu17 -D_GNU_SOURCE -O2 $(WARNINGS) -I. -pthread

$(BENCH)/monitor: $(BENCH_KVM_C) $(wildcard tests/bench/kvm/*.h tests/bench/entry/*.h) | $(SETUP)
	@mkdir -p $(@D)
	@$(CC) $(BENCH_KVM_FLAGS) -static -s $(BENCH_KVM_C) -o $@

$(BENCH)/kvm.gz: tests/bench/kvm/init $(BENCH)/monitor $(BENCH)/payload.elf $(BENCH)/whole.gz \
    $(B)/debian/stamp
	@rm -rf $(BENCH)/kvm
	@mkdir -p $(BENCH)/kvm/bin $(BENCH)/kvm/proc $(BENCH)/kvm/sys $(BENCH)/kvm/dev
	@install -m 755 $(B)/debian/busybox $(BENCH)/kvm/bin
	@install -m 755 tests/bench/kvm/init $(BENCH)/monitor $(BENCH)/payload.elf $(BENCH)/kvm
	@install -m 644 $(B)/debian/*.ko $(B)/debian/vmlinuz $(BENCH)/whole.gz $(BENCH)/kvm
	@cd $(BENCH)/kvm && find . | cpio -o -H newc -R 0:0 --quiet | gzip -9n > ../kvm.gz.new
	@mv $(BENCH)/kvm.gz.new $@

# --- Xen: a dom0 of ours

BENCH_XEN_C := $(wildcard tests/bench/xen/*.c)
BENCH_XEN := $(wildcard tests/bench/xen/*.c tests/bench/xen/*.asm tests/bench/entry/*.c)
BENCH_XEN_INCLUDES := -isystem $(B)/debian/include -D__XEN_TOOLS__
$(BENCH_XEN_C:%=$(B)/guest-obj/%.o): PAYLOAD_INCLUDES += $(BENCH_XEN_INCLUDES)
$(BENCH_XEN_C:%=$(B)/guest-obj/%.o): | $(B)/debian/stamp

$(BENCH)/dom0.elf: $(BENCH_XEN:%=$(B)/guest-obj/%.o) tests/bench/xen/dom0.ld
	@mkdir -p $(@D)
	@ld -nostdlib -static -z max-page-size=4096 -z noexecstack -T tests/bench/xen/dom0.ld \
	    -o $@ $(filter %.o,$^) $(NEWLIB_GUEST)/lib/libc.a

# --- the whole: the default guest, with the bench's loads in place of its report

$(BENCH)/whole.gz: $(BENCH_WHOLE_C) tests/bench/whole/whole.h $(B)/initramfs.gz
	@mkdir -p $(BENCH)/whole/bin
	@$(CC) $(BENCH_KVM_FLAGS) -static -s $(BENCH_WHOLE_C) -o $(BENCH)/whole/bin/report
	@install -m 755 $(B)/initramfs/report $(BENCH)/whole/bin/report-itself
	@cd $(BENCH)/whole && find bin | cpio -o -H newc -R 0:0 --quiet | gzip -9n > ../whole.cpio.gz
	@cat $(B)/initramfs.gz $(BENCH)/whole.cpio.gz > $@

# ---

BENCH_QUICK := $(B)/latch.elf $(BENCH)/payload.elf $(BENCH)/null.elf
BENCH_SLOW := $(BENCH)/kvm.gz $(BENCH)/dom0.elf $(BENCH)/whole.gz

.PHONY: bench bench-quick bench-check
bench: $(BENCH_QUICK) $(BENCH_SLOW) ## Latch, KVM, Xen and the limit, in instructions
	@tests/bench/run $(ARGS)

bench-quick: $(BENCH_QUICK) ## the same without what boots a Linux or Xen first
	@tests/bench/run --quick $(ARGS)

bench-check: ## what grew by more than 2 % between two results (A=OLD.json B=NEW.json)
	@tests/bench/check $(A) $(if $(filter build,$(B)),$(BENCH)/bench.json,$(B))

test: $(BENCH)/payload.elf $(BENCH)/null.elf $(BENCH)/dom0.elf $(BENCH)/whole.gz

# --- lint

$(BENCH_C:%=$(B)/lint/%.tidy): $(B)/lint/%.tidy: % .clang-tidy | $(NEWLIB_GUEST)/stamp
	$(call TIDY,$(PAYLOAD_FLAGS) $(PAYLOAD_INCLUDES) $(CLANG_INCLUDES))

$(BENCH_LINUX_C:%=$(B)/lint/%.tidy): $(B)/lint/%.tidy: % .clang-tidy | $(SETUP)
	$(call TIDY,$(BENCH_KVM_FLAGS))

$(BENCH_XEN_C:%=$(B)/lint/%.tidy): $(B)/lint/%.tidy: % .clang-tidy | $(NEWLIB_GUEST)/stamp \
    $(B)/debian/stamp
	$(call TIDY,$(PAYLOAD_FLAGS) $(PAYLOAD_INCLUDES) $(BENCH_XEN_INCLUDES) $(CLANG_INCLUDES))

LINTED += $(BENCH_C) $(BENCH_LINUX_C) $(BENCH_XEN_C)
lint $(B)/lint/cppcheck: $(patsubst %,$(B)/lint/%.tidy,$(BENCH_C) $(BENCH_LINUX_C) $(BENCH_XEN_C))
