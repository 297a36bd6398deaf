"""Machine code: LLVM's part of the engine, and the cache of compiled objects on disk.

An object is keyed by what it is made from: the sources of the semantics and of the engine, llvmlite's
version, the host's CPU. A cached file carries a digest of its contents; one that does not match is
made anew.

Only what compiles imports LLVM: to do so takes longer than to load an object.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import llvmlite

import dbgemu.engine
import dbgemu.target.arm
from dbgemu.engine.object_linker import LinkedObject, LinkError

if TYPE_CHECKING:
    import llvmlite.binding as llvm

_MAGIC = b"dbgemu object 1\n"
_DIGEST_SIZE = 32
#: where Linux tells of the CPU, and the lines that stay the same
_CPU_INFO = Path("/proc/cpuinfo")
_CPU_KEYS = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features", "CPU ")

#: modules of the target, beside those of the core, whose constants native code is made with
PORT_MODULES = ("stream", "count_port")

Progress = Callable[[str], None]


def cache_folder() -> Path:
    """Where objects are kept: ``$DBGEMU_CACHE``, or ``dbgemu`` in the user's cache folder."""
    override = os.environ.get("DBGEMU_CACHE")
    if override:
        return Path(override)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dbgemu"


def source_digest(*, everything: bool = False) -> str:
    """A digest of every source that the interpreter may follow from, and of the host.

    With ``everything`` the translator's too.
    """
    digest = _interpreter_digest().copy()
    if everything:
        _add_sources(digest, _folder_of(dbgemu.engine) / "translator")
    return digest.hexdigest()


@cache
def _interpreter_digest() -> hashlib._Hash:
    """Kept, as each start needs it for the interpreter and for the translator."""
    digest = hashlib.sha256()
    for package in (dbgemu.engine, dbgemu.target.arm):
        _add_sources(digest, _folder_of(package), but=("assembler", "translator"))
    for name in PORT_MODULES:
        digest.update((_folder_of(dbgemu.target) / f"{name}.py").read_bytes())
    for part in (llvmlite.__version__, sys.platform, os.uname().machine, *_host_cpu()):
        digest.update(b"\0" + part.encode())
    return digest


def _folder_of(package: ModuleType) -> Path:
    return Path(str(package.__file__)).parent


def _add_sources(digest: hashlib._Hash, folder: Path, but: Sequence[str] = ()) -> None:
    for path in sorted(folder.rglob("*.py")):
        if not any(name in but for name in path.relative_to(folder).parts):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())


def _host_cpu() -> Iterator[str]:
    """What LLVM's choice of instructions follows from."""
    try:
        with _CPU_INFO.open() as file:
            # of the first processor: all others are like it
            text = file.read(8192).partition("\n\n")[0]
    except OSError:
        import llvmlite.binding as llvm

        yield from (llvm.get_default_triple(), llvm.get_host_cpu_name())
        yield llvm.get_host_cpu_features().flatten()
        return
    yield from (line for line in text.splitlines() if line.startswith(_CPU_KEYS))


def read_cached(path: Path) -> bytes | None:
    """The object in the cache file ``path``, or None when it is absent or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    header = len(_MAGIC) + _DIGEST_SIZE
    stored = content[len(_MAGIC) : header]
    if not content.startswith(_MAGIC) or hashlib.sha256(content[header:]).digest() != stored:
        return None
    return content[header:]


def write_cached(path: Path, contents: bytes) -> None:
    """Put an object into the cache; a cache that cannot be written is done without."""
    import tempfile  # by no start with a warm cache

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(_MAGIC + hashlib.sha256(contents).digest() + contents)
        Path(file.name).replace(path)
    except OSError:
        return


def target_machine(triple: str | None = None, level: int = 2, *, near: bool = False) -> llvm.TargetMachine:
    """LLVM's code generator for the host, or for ``triple`` (generic CPU).

    With ``near``, what code refers to is within 2 GiB.
    """
    import llvmlite.binding as llvm

    if triple is not None:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        return llvm.Target.from_triple(triple).create_target_machine(opt=level, reloc="pic")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=level,
        jit=not near,
        codemodel="small" if near else "jitdefault",
    )


def compile_ir(text: str, machine: llvm.TargetMachine) -> bytes:
    """An object file from LLVM IR."""
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(f'target triple = "{machine.triple}"\n{text}')
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    return bytes(machine.emit_object(module))


class NativeCode:
    """A loaded object file. LLVM's linker, where it is needed, is told of ``machine`` (default: the host)."""

    def __init__(self, contents: bytes, machine: llvm.TargetMachine | None = None) -> None:
        self._objects: list[LinkedObject] = []
        self._symbols: dict[str, int] = {}
        self._engine: llvm.ExecutionEngine | None = None
        try:
            self.add(contents)
        except LinkError:
            # another host: LLVM's linker knows it
            import llvmlite.binding as llvm

            machine = machine or target_machine()
            self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
            self.add(contents)

    def add(self, contents: bytes) -> None:
        """Load another object file, whose references to symbols of those before are resolved."""
        if self._engine is None:
            linked = LinkedObject(contents, self._symbols)
            self._objects.append(linked)
            self._symbols |= linked.symbols
            return
        import tempfile

        with tempfile.NamedTemporaryFile(suffix=".o") as file:
            file.write(contents)
            file.flush()
            self._engine.add_object_file(file.name)
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """The host address of a function or constant; LookupError when there is none."""
        address = self._symbols.get(name, 0)
        if self._engine is not None:
            address = self._engine.get_function_address(name) or self._engine.get_global_value_address(name)
        if not address:
            raise LookupError(f"the object has no symbol {name!r}")
        return int(address)

    def function(self, name: str, result: object, *arguments: object) -> Callable[..., int]:
        """A function as a Python callable, which runs without the interpreter lock."""
        prototype = ctypes.CFUNCTYPE(result, *arguments)  # type: ignore[arg-type]
        return prototype(self.address(name))


def stderr_progress(text: str) -> None:
    """Show one line that the next one overwrites; without a terminal, only what ends a line."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text.endswith("\n"):
        print(text, end="", file=sys.stderr, flush=True)


def load_interpreter(progress: Progress = stderr_progress) -> NativeCode:
    """The interpreter's code: from the cache, or compiled (some seconds) and put there."""
    path = cache_folder() / f"interpreter-{source_digest()[:32]}.o"
    contents = read_cached(path)
    if contents is None:
        # only now: a warm start needs neither the semantics nor the emitter
        from dbgemu.engine.interpreter import emit_module

        started = time.monotonic()
        progress("dbgemu: building the interpreter: writing handlers")
        text = emit_module(
            lambda done, total: progress(f"dbgemu: building the interpreter: handler {done} of {total}")
        )
        progress("dbgemu: building the interpreter: compiling (once for this version and host)")
        contents = compile_ir(text, target_machine())
        write_cached(path, contents)
        progress(f"dbgemu: interpreter built in {time.monotonic() - started:.1f} s\n")
    return NativeCode(contents)
