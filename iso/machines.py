# SPDX-License-Identifier: BSD-2-Clause
"""The machines: an emulator's command line, its serial line, and what its exit means."""

import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess

import monitor
from image import Refused

EXIT_PORT = 0xF4
OVMF = "/usr/share/OVMF/OVMF_%s_4M.fd"
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def kvm_can_nest():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    for vendor in ("intel", "amd"):
        parameter = pathlib.Path(f"/sys/module/kvm_{vendor}/parameters/nested")
        if parameter.exists() and parameter.read_text().strip() in ("1", "Y"):
            return True
    return False


def check(options):
    """Refuse what this machine does not have."""
    if not MACHINES[options.machine].is_qemu:
        if options.uefi:
            raise Refused(f"--uefi: {options.machine} has a BIOS only; use a QEMU machine")
        if options.boot in ("usb", "pxe"):
            raise Refused(f"--boot {options.boot}: {options.machine} has cd and disk only")
    if options.icount and options.machine == "kvm":
        raise Refused("--icount: a real CPU does not count so; use --machine qemu-amd or Bochs")
    if options.bochs_script and MACHINES[options.machine].is_qemu:
        raise Refused(f"--bochs-script: {options.machine} is not Bochs")
    if options.bare and options.guest == "none":
        raise Refused("--bare --guest none: there is nothing to boot")


def die_with_launcher():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Machine:
    """A running emulator: bytes() in and out of its serial line until it ends."""

    is_qemu = False
    timeout = 60.0

    def __init__(self, options, directory, medium):
        self.options = options
        self.directory = pathlib.Path(directory)
        self.medium = medium
        self.process = None

    def spawn(self, words, **streams):
        self.process = subprocess.Popen(words, start_new_session=True,
                                        preexec_fn=die_with_launcher, **streams)

    def stop(self):
        """End the emulator if it still runs, and all that it started."""
        if self.process:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()

    def where(self):
        """Lines that say where a machine's CPUs stand that gives no sign of life."""
        return []

    def ended(self):
        """After the serial line closed: (debug-exit value or None, what went wrong or None)."""
        try:
            status = self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            return None, "the emulator closed its serial line but did not end"
        return self.meaning(status)


class Qemu(Machine):
    is_qemu = True
    accelerator = ["-accel", "tcg,thread=multi"]
    counting = ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-seed", "1",
                "-rtc", "base=2024-01-01,clock=vm"]
    cpu = "max"

    def command(self):
        options = self.options
        accelerator = self.counting if options.icount else self.accelerator
        words = ["qemu-system-x86_64", *accelerator, "-cpu", options.cpu or self.cpu,
                 "-smp", str(options.machine_cpus), "-m", str(options.mem),
                 "-display", "none", "-no-reboot",
                 "-monitor", f"unix:{self.directory}/monitor,server=on,wait=off",
                 "-chardev", "stdio,id=serial0,signal=off", "-serial", "chardev:serial0",
                 "-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4"]
        if options.uefi:
            variables = self.directory / "vars.fd"
            shutil.copyfile(OVMF % "VARS", variables)
            words += ["-machine", "q35",
                      "-drive", f"if=pflash,format=raw,readonly=on,file={OVMF % 'CODE'}",
                      "-drive", f"if=pflash,format=raw,file={variables}"]
        return words + self.boot_device() + options.emulator_args

    def boot_device(self):
        options = self.options
        if options.boot == "pxe":
            core = "x86_64-efi/core.efi" if options.uefi else "i386-pc/core.0"
            card = "virtio-net-pci,bootindex=0" if options.uefi else "e1000,bootindex=0"
            return ["-netdev", f"user,id=net0,tftp={self.medium},bootfile=boot/grub/{core}",
                    "-device", f"{card},netdev=net0"]
        words = ["-net", "none"]
        if options.boot == "cd":
            return words + ["-cdrom", str(self.medium)]
        words += ["-drive", f"id=disk0,if=none,format=raw,snapshot=on,file={self.medium}"]
        if options.boot == "usb":
            return words + ["-device", "qemu-xhci", "-device",
                            "usb-storage,drive=disk0,bootindex=0"]
        return words + ["-device", "ide-hd,drive=disk0,bootindex=0"]

    def start(self):
        self.errors = open(self.directory / "errors", "w+b")
        self.spawn(self.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                   stderr=self.errors)
        return self.process.stdout.fileno(), self.process.stdin.fileno()

    def where(self):
        return monitor.where(self.directory / "monitor", self.options.machine_cpus)

    def meaning(self, status):
        self.errors.seek(0)
        errors = self.errors.read().decode(errors="replace").strip()
        # QEMU's own failures are status 1 too, as is a 0 written to the debug-exit port.
        if status < 0 or (status == 1 and "qemu-system" in errors):
            return None, f"QEMU ended with status {status}: {errors}"
        return (status >> 1 if status & 1 else None), None


class Kvm(Qemu):
    accelerator = ["-enable-kvm"]
    cpu = "host"


class Bochs(Machine):
    timeout = 180.0
    cpu = None

    def configuration(self, port):
        options = self.options
        # Bare Linux reads MSRs that Bochs lacks; under Latch each stray one must show.
        bad_msrs = int(options.bare)
        kind = "cdrom" if options.boot == "cd" else "disk"
        medium = f"path={self.medium}, " + ("status=inserted" if kind == "cdrom" else "mode=flat")
        return "\n".join([
            "plugin_ctrl: unmapped=true, biosdev=true, speaker=false, extfpuirq=true,"
            " parallel=false, serial=true, iodebug=true",
            'display_library: rfb, options="timeout=0"',
            "config_interface: textconfig",
            f"memory: guest={options.mem}, host={options.mem}",
            "romimage: file=/usr/share/bochs/BIOS-bochs-latest",
            "vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest",
            f"cpu: model={options.cpu or self.cpu}, count={options.machine_cpus}, ips=4000000,"
            f" reset_on_triple_fault=0, ignore_bad_msrs={bad_msrs}",
            f"com1: enabled=1, mode=socket-client, dev=127.0.0.1:{port}",
            "clock: sync=none, time0=946684800",
            f"log: {self.directory}/log",
            "panic: action=fatal",
            "error: action=ignore",  # a line for each EPT violation, ten thousands in a boot
            f"ata0-master: type={kind}, {medium}",
            f"boot: {kind}",
            ""])

    def start(self):
        listener = socket.create_server(("127.0.0.1", 0))
        configuration = self.directory / "bochsrc"
        configuration.write_text(self.configuration(listener.getsockname()[1]))
        # The debugger's script: continue, and quit at a guest's own stop.
        script = self.directory / "script"
        script.write_text("c\nq\n")
        output = self.directory / "output"
        if self.options.bochs_script:
            script = pathlib.Path(self.options.bochs_script)
            output = f"{script}.out"
        self.output = open(output, "w+b")
        self.spawn(["bochs", "-q", "-f", str(configuration), "-rc", str(script),
                    *self.options.emulator_args], stdin=subprocess.DEVNULL, stdout=self.output,
                   stderr=subprocess.STDOUT)
        listener.settimeout(1)
        while True:
            try:
                self.connection = listener.accept()[0]
                return self.connection.fileno(), self.connection.fileno()
            except TimeoutError:
                if self.process.poll() is not None:
                    raise Refused("Bochs did not start:\n" + self.last_words()) from None

    def last_words(self):
        texts = [path.read_text(errors="replace") for path in
                 (self.directory / "output", self.directory / "log") if path.exists()]
        lines = "\n".join(texts).splitlines()
        panics = [line for line in lines if "PANIC" in line or "(13) exception" in line]
        return "\n".join(panics[-3:] or lines[-5:])

    def meaning(self, status):
        # Power-off and panic are the same status; the log tells them apart.
        log = (self.directory / "log").read_text(errors="replace")
        if status == 0 or "ACPI control: soft power off" in log:
            return None, None
        return None, "Bochs stopped: " + self.last_words()


class BochsIntel(Bochs):
    cpu = "corei7_skylake_x"


class BochsAmd(Bochs):
    cpu = "ryzen"


MACHINES = {"kvm": Kvm, "qemu-amd": Qemu, "bochs-intel": BochsIntel, "bochs-amd": BochsAmd}


def bare_linux_args(options):
    """What Linux must not use of a Bochs CPU, where no Latch hides it."""
    if MACHINES[options.machine].is_qemu:
        return []
    model = options.cpu or MACHINES[options.machine].cpu
    flags = {"ryzen": "mwaitx", "corei7_icelake_u": "fsrm", "tigerlake": "fsrm"}
    return [f"clearcpuid={flags[model]}"] if model in flags else []
