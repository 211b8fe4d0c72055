"""NVIDIA's GPUs: which there are, by UUID, and one of them for this process alone.

`nvidia-smi`, which comes with the driver, lists what this process may see, in a container and under WSL2 too. CUDA's
numbers and those of device files can differ from its own. A scheduler that assigns GPUs sets CUDA_VISIBLE_DEVICES.
"""

import errno
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

TIMEOUT = 60  # seconds: a driver that loads for each call takes some for every GPU
_WSL = "/usr/lib/wsl/lib"
_DEVICES = Path("/dev")
_OUT_OF_MEMORY = re.compile(r"resource_?exhausted|out.of.memory|alloc_failed", re.IGNORECASE)

_held: socket.socket | None = None


class Device(NamedTuple):
    """What CUDA computes on: a GPU, or a MIG device, which is a part of one."""

    uuid: str
    gpu: str


def listed() -> list[list[Device]]:
    """The devices of each GPU that this process may see: itself, or its MIG devices.

    Empty, with a warning on standard error, where nvidia-smi fails, does not answer or is not there beside a GPU.
    """
    try:
        output = _nvidia_smi("-L")
    except FileNotFoundError:
        if any(_DEVICES.glob("nvidia[0-9]*")):
            _warn(
                "nvidia-smi is not installed, so no GPU is held; where a container lacks it, set "
                "NVIDIA_DRIVER_CAPABILITIES=compute,utility"
            )
        return []
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "output", None) or error
        _warn(f"nvidia-smi does not list the GPUs, so none is held: {' '.join(str(reason).split())}")
        return []
    gpus: list[list[Device]] = []
    for line in output.splitlines():
        if not (uuid := re.search(r"\(UUID: (\S+)\)", line)):
            continue
        if line.startswith("GPU"):
            gpu = uuid[1]
            gpus.append([Device(gpu, gpu)])
        else:
            gpus[-1] = [*(device for device in gpus[-1] if device.uuid != gpu), Device(uuid[1], gpu)]
    return gpus


def usable() -> list[Device]:
    """Those of the devices that CUDA_VISIBLE_DEVICES names, by UUID or by nvidia-smi's number; without it all.

    As in CUDA, a name that fits none ends the list; one that names no GPU at all is warned of.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen in ("", "-1"):
        return []
    gpus = listed()
    every = [device for gpu in gpus for device in gpu]
    if chosen is None:
        return every
    devices: list[Device] = []
    for name in map(str.strip, chosen.split(",")):
        if name.isdecimal():
            fitting = gpus[int(name)] if int(name) < len(gpus) else []
        else:
            fitting = [device for device in every if name and any(uuid.startswith(name) for uuid in device)]
        if not fitting:
            break
        devices += fitting
    if every and not devices:
        uuids = ", ".join(device.uuid for device in every)
        _warn(f"CUDA_VISIBLE_DEVICES is {chosen!r} and names no GPU of this machine, which has {uuids}")
    return devices


def hold() -> bool:
    """Hold one of the `usable` devices, which no other process of this machine holds, and say whether there is one.

    Waits until one is free. So call it before any other lock is taken, and before the backend touches a GPU. CUDA then
    sees that device alone. It is held until the process ends, however it does; a second call changes nothing. An
    error for want of memory then also says which processes use the GPU.
    """
    global _held
    if _held is not None:
        return True
    if not (devices := usable()):
        return False
    if (taken := _take(devices)) is None:
        holders = "; ".join(f"{device.uuid} is held by {_holder(device)}" for device in devices)
        print(f"waits for a free GPU: {holders}", file=sys.stderr, flush=True)
        while (taken := _take(devices)) is None:
            time.sleep(1)
    device, _held = taken
    os.environ["CUDA_VISIBLE_DEVICES"] = device.uuid
    sys.excepthook = partial(_report, device)
    return True


def _nvidia_smi(*arguments: str) -> str:
    """What it prints. Raises FileNotFoundError where it is not installed."""
    path = shutil.which("nvidia-smi", path=f"{os.environ.get('PATH', '')}{os.pathsep}{_WSL}")
    if path is None:
        raise FileNotFoundError("nvidia-smi")
    command = [path, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT).stdout


def _warn(message: str) -> None:
    print(f"WARNING: {message}", file=sys.stderr, flush=True)


def _address(device: Device) -> str:
    """In Linux's abstract namespace: of the machine (of a network namespace), without a file and its permissions, and
    gone with the process.
    """
    return f"\0medpipe {device.uuid}"


def _take(devices: list[Device]) -> tuple[Device, socket.socket] | None:
    """The first free device with what holds it."""
    for device in devices:
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(_address(device))
        except OSError as error:
            lock.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            lock.listen()  # so that `_holder` can ask whose it is
            return device, lock
    return None


def _holder(device: Device) -> str:
    with socket.socket(socket.AF_UNIX) as question:
        question.setblocking(False)  # nobody accepts, so the queue may be full
        try:
            question.connect(_address(device))
            pid, _, _ = struct.unpack("3i", question.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            command = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            return "a process that cannot be seen from here"
    return f"process {pid} ({' '.join(command.split())})"


def _report(device: Device, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.__excepthook__(kind, error, trace)
    if not _OUT_OF_MEMORY.search(f"{kind.__name__}: {error}"):
        return
    query = ("--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader", f"--id={device.gpu}")
    try:
        users = _nvidia_smi(*query).strip() or "none that nvidia-smi can see from here"
    except (OSError, subprocess.SubprocessError) as failure:
        users = f"not known: {failure}"
    print(
        f"The memory of {device.uuid} ran out. This is process {os.getpid()}; on that GPU are:\n{users}\n"
        "End what need not run there, or choose a smaller `batch` (params.yaml) or `image_size` (data.yaml).",
        file=sys.stderr,
        flush=True,
    )
