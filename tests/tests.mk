# SPDX-License-Identifier: BSD-2-Clause
#
# Guest payloads, the default guest's initramfs, the unit tests, lint, and the suite.

# --- guest payloads: one ELF for each tests/guest/*.c

PAYLOADS := $(patsubst tests/guest/%.c,$(B)/guest/%.elf,$(wildcard tests/guest/*.c))
PAYLOAD_LIB := $(wildcard tests/guest/lib/*.c tests/guest/lib/*.asm)
PAYLOAD_LIB_OBJECTS := $(PAYLOAD_LIB:%=$(B)/guest-obj/%.o)
PAYLOAD_FLAGS := $(filter-out -mgeneral-regs-only -mcmodel=% -fno-jump-tables,$(KERNEL_FLAGS))
PAYLOAD_INCLUDES := -I. -Itests/guest/lib -isystem $(NEWLIB_GUEST)/include

.PHONY: payloads
payloads: $(PAYLOADS)

$(B)/guest-obj/%.c.o: %.c | $(NEWLIB_GUEST)/stamp
	@mkdir -p $(@D)
	@$(CC) $(PAYLOAD_FLAGS) $(PAYLOAD_INCLUDES) $(FREESTANDING) -MMD -MP -c $< -o $@

$(B)/guest-obj/%.asm.o: %.asm | $(SETUP)
	@mkdir -p $(@D)
	@nasm -f elf64 -g -F dwarf -I./ -MD $(@:.o=.d) -MT $@ -MP $< -o $@

# Those that compare the CPU with the manuals.
REFERENCE_C := $(wildcard tests/reference/*.c)
PAGING_PAYLOADS := exact unlike hostile tlb
PAGING_C := $(REFERENCE_C) $(wildcard tests/guest/paging/*.c tests/guest/paging/*.asm)
$(PAGING_PAYLOADS:%=$(B)/guest/%.elf): $(PAGING_C:%=$(B)/guest-obj/%.o)

# Those that hold the CPU against its model.
MODEL_PAYLOADS := msr_port features dynamic sgx
MODEL_C := $(filter-out cpuid/digest.c,$(wildcard cpuid/*.c)) $(wildcard tests/guest/model/*.c)
$(MODEL_PAYLOADS:%=$(B)/guest/%.elf): $(MODEL_C:%=$(B)/guest-obj/%.o)

AREAS_C := $(wildcard tests/guest/areas/*.c)
$(B)/guest/areas.elf: $(AREAS_C:%=$(B)/guest-obj/%.o)

$(B)/guest/exits.elf: $(B)/guest-obj/kernel/exit_name.c.o

$(B)/guest/%.elf: $(B)/guest-obj/tests/guest/%.c.o $(PAYLOAD_LIB_OBJECTS) tests/guest/lib/payload.ld
	@mkdir -p $(@D)
	@ld -nostdlib -static -z max-page-size=4096 -z noexecstack -T tests/guest/lib/payload.ld \
	    -o $@ $(filter %.o,$^) --start-group $(NEWLIB_GUEST)/lib/libc.a $(NEWLIB_GUEST)/lib/libm.a \
	    $(shell $(CC) -print-libgcc-file-name) --end-group

# --- Latch with what no emulator has, or what no bug is to do: one image for each tests/fake/*.c

FAKE_C := $(wildcard tests/fake/*.c)
FAKES := $(FAKE_C:tests/fake/%.c=$(B)/test/latch-%.elf)
$(B)/test/latch-sgx.elf: WRAPPED := spec_apply rdmsr_safe svm_exit
$(B)/test/latch-alias.elf: WRAPPED := digest_seal
$(B)/test/latch-answer.elf: WRAPPED := models_print_digest
$(B)/test/latch-image.elf: WRAPPED := pristine_digest
$(B)/test/latch-states.elf: WRAPPED := model_capture spec_apply rules_derive
$(B)/test/latch-%.elf: $(KERNEL_OBJECTS) $(B)/kernel-obj/tests/fake/%.c.o kernel/latch.ld
	@mkdir -p $(@D)
	@$(KERNEL_LINK) $(WRAPPED:%=--wrap=%) -o $@ $(filter %.o,$^) $(NEWLIB_KERNEL)/lib/libck.a

test: $(FAKES)

# --- the default guest's initramfs

INITRAMFS := tests/guest/initramfs

$(B)/initramfs/report: $(wildcard $(INITRAMFS)/*.c) $(INITRAMFS)/report.h | $(SETUP)
	@mkdir -p $(@D)
	@$(CC) -std=gnu17 -O2 $(WARNINGS) -static -s $(filter %.c,$^) -o $@

$(B)/initramfs.gz: $(B)/initramfs/report $(INITRAMFS)/init $(B)/debian/stamp
	@rm -rf $(B)/initramfs/root
	@mkdir -p $(B)/initramfs/root/bin
	@install -m 755 $(INITRAMFS)/init $(B)/initramfs/root
	@install -m 755 $(B)/debian/busybox $(B)/initramfs/report $(B)/initramfs/root/bin
	@cd $(B)/initramfs/root && find . | cpio -o -H newc -R 0:0 --quiet | gzip -9n > ../initramfs.gz
	@mv $(B)/initramfs/initramfs.gz $@

# --- unit tests: one program for each tests/unit/test_*.c, against the files that are pure

KERNEL_PURE := $(wildcard kernel/multiboot2.c kernel/config.c kernel/acpi.c kernel/acpi_*.c \
    kernel/insn*.c kernel/load.c kernel/load_*.c kernel/refusal.c kernel/memory_map.c \
    kernel/guest_image.c kernel/paging_choice.c kernel/xen_layout.c kernel/histogram.c \
    kernel/speculation.c kernel/vm_call.c kernel/cpu_set.c)
BACKEND_PURE := svm/control_registers.c svm/cr_code.c svm/event_code.c \
    vmx/controls.c vmx/event_combine.c vmx/qualification.c vmx/reason.c
MONITOR_PURE := tests/bench/entry/entry.c \
    tests/bench/kvm/linux.c tests/bench/kvm/memory.c tests/bench/kvm/uart.c
HOST_SOURCES := $(KERNEL_PURE) $(BACKEND_PURE) $(wildcard mmu/*.c cpuid/*.c) $(REFERENCE_C) \
    $(MONITOR_PURE) \
    $(GNULIB)/sha256.c
HOST_OBJECTS := $(HOST_SOURCES:%=$(B)/host-obj/%.o)
UNIT_HELPERS := $(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))
HOST_FLAGS := -std=gnu17 -O1 -g $(WARNINGS) -fno-omit-frame-pointer -fsanitize=address,undefined \
    -fno-sanitize-recover=undefined -I. -isystem tests/unit/host -isystem $(GNULIB)

.PHONY: unit
unit: unit-programs ## the host unit tests, under the address and undefined-behaviour sanitizers
	@tests/unit/run $(UNIT_TESTS)

.PHONY: unit-programs
unit-programs: $(UNIT_TESTS)

$(B)/host-obj/%.c.o: %.c | $(SETUP) $(GNULIB)/stamp
	@mkdir -p $(@D)
	@$(CC) $(HOST_FLAGS) -MMD -MP -c $< -o $@

$(B)/host-obj/latch.a: $(HOST_OBJECTS) $(UNIT_HELPERS:%=$(B)/host-obj/%.o)
	@rm -f $@
	@ar rcs $@ $^

$(B)/unit/%: $(B)/host-obj/tests/unit/%.c.o $(B)/host-obj/latch.a
	@mkdir -p $(@D)
	@$(CC) $(HOST_FLAGS) $^ -o $@

# --- lint

CLANG_INCLUDES = -nostdinc -isystem $(shell clang -print-resource-dir)/include
PAYLOAD_C := $(wildcard tests/guest/*.c $(foreach d,areas lib model paging,tests/guest/$(d)/*.c))
HOST_C := $(wildcard tests/unit/*.c tests/reference/*.c $(INITRAMFS)/*.c)
LINTED := $(KERNEL_C) $(FAKE_C) $(OFFSET_SOURCES) $(PAYLOAD_C) $(HOST_C)
# A third of clang's patience with a function: half the time, and all that was ever found here. The
# unit tests, which the sanitizers watch, get a third of that.
PATIENCE = $(if $(LATCH_TEST_ALL),,-Xclang -analyzer-config -Xclang max-nodes=75000)
$(HOST_C:%=$(B)/lint/%.tidy): PATIENCE = \
    $(if $(LATCH_TEST_ALL),,-Xclang -analyzer-config -Xclang max-nodes=25000)
TIDY = @mkdir -p $(@D) && \
    clang-tidy --quiet --warnings-as-errors='*' $< -- $(1) $(PATIENCE) 2>$@.log || \
    { grep -v 'warnings generated\|Suppressed\|system-headers' $@.log >&2; false; } && touch $@

.PHONY: lint
lint: $(LINTED:%=$(B)/lint/%.tidy) $(B)/lint/cppcheck ## clang-tidy and cppcheck over all C

$(PAYLOAD_C:%=$(B)/lint/%.tidy): $(B)/lint/%.tidy: % .clang-tidy | $(NEWLIB_GUEST)/stamp
	$(call TIDY,$(PAYLOAD_FLAGS) $(PAYLOAD_INCLUDES) $(CLANG_INCLUDES))

$(HOST_C:%=$(B)/lint/%.tidy): $(B)/lint/%.tidy: % .clang-tidy | $(SETUP)
	$(call TIDY,-std=gnu17 $(WARNINGS) -I. -isystem tests/unit/host)

$(B)/lint/%.tidy: % .clang-tidy | $(NEWLIB_KERNEL)/stamp $(GNULIB)/stamp
	$(call TIDY,$(KERNEL_FLAGS) $(KERNEL_INCLUDES) $(CLANG_INCLUDES))

# Linker symbols are arrays to C, and their differences are sizes: not a comparison of strangers.
$(B)/lint/cppcheck: $(LINTED) $(wildcard $(FOLDERS:%=%/*.h)) | $(SETUP)
	@mkdir -p $(@D)
	@cppcheck --quiet --std=c11 --platform=unix64 --enable=warning,performance,portability \
	    --inline-suppr --suppress=comparePointers --error-exitcode=1 -j$(shell nproc) -I. $(LINTED)
	@touch $@

# --- the suite

.PHONY: test
test: all unit-programs fuzz-programs ## the whole suite (PYTEST_ARGS="-k ... --junitxml=FILE")
	@$(PYTHON) -m pytest tests $(PYTEST_ARGS)
