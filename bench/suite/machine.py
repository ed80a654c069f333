"""The machine of a run. No host names, users or folders."""
import os
import platform
import re
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# CPU features that affect a figure here.
FLAGS = ("aes", "avx", "avx2", "avx512f", "avx512vl", "avx512ifma", "bmi2", "adx", "sha_ni",
         "constant_tsc")


def _read(path):
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _field(text, name):
    found = re.search(rf"^{name}\s*[:=]\s*(.*)$", text, re.M)
    return found[1].strip().strip('"') if found else ""


def _commit():
    def git(*words):
        return subprocess.run(["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, *words],
                              capture_output=True, text=True)
    head = git("rev-parse", "--short=12", "HEAD")
    if head.returncode != 0:
        return "unknown"
    changed = git("status", "--porcelain", "--untracked-files=no").stdout
    return head.stdout.strip() + (" and changes" if changed else "")


def _build(bin_folder):
    cache = _read(bin_folder.parent / "CMakeCache.txt")
    if not cache:
        return "unknown"
    build = _field(cache, "CMAKE_BUILD_TYPE:STRING")
    compiler = _field(cache, "CMAKE_CXX_COMPILER:[A-Z]+") or "c++"
    version = subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True)
    flags = _field(cache, f"CMAKE_CXX_FLAGS_{build.upper()}:STRING")
    if build == "RelWithDebInfo":
        flags = "-O2 -g -DNDEBUG"  # what CMakeLists.txt sets
    return f"{build} ({Path(compiler).name} {version.stdout.strip()} {flags})"


def _wireguard():
    try:
        asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "wireguard-go"],
                               capture_output=True, text=True)
    except FileNotFoundError:  # another distribution
        return ""
    return f"wireguard-go {asked.stdout}" if asked.returncode == 0 else ""


def describe(mode, bin_folder):
    cpuinfo = _read("/proc/cpuinfo")
    flags = set(_field(cpuinfo, "flags").split())
    memory = re.search(r"MemTotal:\s+(\d+)", _read("/proc/meminfo"))
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": _commit(),
        "kernel": re.match(r"[0-9]+\.[0-9]+(\.[0-9]+)?", platform.release())[0],
        "distribution": _field(_read("/etc/os-release"), "PRETTY_NAME"),
        "cpu": _field(cpuinfo, "model name"),
        "cpus": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in FLAGS if flag in flags],
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "none",
        "hypervisor": "yes" if "hypervisor" in flags else "no",
        "memory_gib": round(int(memory[1]) / 2 ** 20, 1) if memory else 0,
        "load_at_start": round(os.getloadavg()[0], 2),
        "build": _build(bin_folder),
        "wireguard": _wireguard(),
        "mode": mode,
    }
