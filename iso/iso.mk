# SPDX-License-Identifier: BSD-2-Clause
#
# What boots: one image for BIOS and UEFI, from CD, disk and USB, and a tree for a TFTP server.

BOOT_FILES := $(B)/latch.elf $(B)/initramfs.gz $(B)/debian/stamp iso/grub.cfg
# Of an ELF file GRUB loads what debuggers want, too.
STAGE_BOOT_FILES = cp $(B)/debian/vmlinuz $(B)/initramfs.gz $(1) && \
    strip -o $(1)/latch.elf $(B)/latch.elf

.PHONY: iso
iso: $(B)/latch.iso ## build/latch.iso: BIOS and UEFI; CD, disk and USB
	@ls -sh $<

$(B)/latch.iso: $(BOOT_FILES)
	@rm -rf $(B)/iso
	@mkdir -p $(B)/iso/boot/grub
	@$(call STAGE_BOOT_FILES,$(B)/iso/boot)
	@cp iso/grub.cfg $(B)/iso/boot/grub
	@grub-mkrescue -o $@ $(B)/iso >$(B)/iso.log 2>&1 || { cat $(B)/iso.log >&2; false; }

.PHONY: pxe
pxe: $(B)/pxe/stamp ## build/pxe: for a TFTP server, BIOS and UEFI
	@echo "$(B)/pxe: serve it by TFTP; boot files boot/grub/i386-pc/core.0 (BIOS)" \
	    "and boot/grub/x86_64-efi/core.efi (UEFI)"

$(B)/pxe/stamp: $(BOOT_FILES)
	@rm -rf $(B)/pxe
	@mkdir -p $(B)/pxe
	@grub-mknetdir --net-directory=$(B)/pxe --subdir=boot/grub >$(B)/pxe.log 2>&1 || \
	    { cat $(B)/pxe.log >&2; false; }
	@$(call STAGE_BOOT_FILES,$(B)/pxe/boot)
	@cp iso/grub.cfg $(B)/pxe/boot/grub
	@touch $@
