"""The native code of traces: an object of its own, loaded when something is recorded or read."""

from __future__ import annotations

from functools import cache

from dbgemu.engine.native import (
    NativeCode,
    cache_folder,
    read_cached,
    source_digest,
    target_machine,
    write_cached,
)


def _compile(text: str) -> bytes:
    """An object file, with all of LLVM's usual optimizations: there is little code, and all of it is hot."""
    import llvmlite.binding as llvm  # to load what was compiled takes none of it

    machine = target_machine()
    module = llvm.parse_assembly(f'target triple = "{machine.triple}"\n{text}')
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


@cache
def load_trace_code() -> NativeCode:
    """The functions that record, replay and search blocks: cached on disk, or compiled."""
    path = cache_folder() / f"trace-{source_digest()[:32]}.o"
    contents = read_cached(path)
    if contents is None:
        from dbgemu.engine.ir import DECLARATIONS
        from dbgemu.engine.trace_replay import emit_replay
        from dbgemu.engine.trace_ring import emit_recording
        from dbgemu.engine.trace_transitions import emit_transitions

        text = "\n".join([DECLARATIONS, *emit_recording(), *emit_replay(), *emit_transitions()])
        contents = _compile(text)
        write_cached(path, contents)
    return NativeCode(contents)
