"""The compiled engine: safetensors headers, merge programs, files, and the merge loop.

Bindings of the Rust crate ``bmerge-core`` (``native/core``); lowest layer, imports nothing of
bmerge. Nothing here knows of models or methods: it runs :class:`Program` objects over tensors
that lie in files or buffers. All errors are :class:`NativeError`; messages are lower case and
one line. Every function may be called from any thread; :func:`merge` releases the GIL.
"""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Final, Literal, TypeAlias, final

from typing_extensions import Buffer

__all__ = [
    "Cancelled",
    "Findings",
    "Header",
    "HeaderError",
    "IoError",
    "Layout",
    "Maps",
    "NativeError",
    "NonFiniteError",
    "OutputFile",
    "Program",
    "ProgramError",
    "Progress",
    "Report",
    "__version__",
    "decode",
    "encode_header",
    "merge",
    "read_header",
    "rotations",
    "turn_in_stages",
]

__version__: Final[str]
"""Version of the compiled engine, equal to that of the distribution."""

_Path: TypeAlias = str | PathLike[str]

_Scaled: TypeAlias = tuple[
    Literal["E4M3", "E5M2", "I8", "E2M1", "I4"],  # of 4 bits: E2M1 high nibble first, I4 low
    tuple[int, int, int],  # rows, columns, stored columns
    tuple[Literal["grid", "tiled"], int, int, int],  # rows, columns of a cell; scales, tiles across
    str,  # dtype of scales: F32, F16, BF16, F8_E4M3, F8_E8M0
    bool,  # whether a part more is one F32 that all scales are multiplied by
    bool,  # whether a part more is an F32 for each column, which values are multiplied by
    float,  # what values are multiplied by after their scale
    int | None,  # columns of a group that ConvRot has rotated: a power of 4
]
"""Codes and scales: value = code * (scale of all * scale), to float32 after every step.

Scales lie in a grid of cells, or one for each row and so many columns in cuBLAS's tiles of
128 x 4; a scale of type F8_E8M0 is a power of two, and zero for code 0.
"""

_Levels: TypeAlias = tuple[int, int, tuple[int, float] | None]
"""bitsandbytes in 4 bits: elements, elements of a block; nested: blocks of a scale, offset.

Parts: codes (high nibble first), absmax (F32; nested U8), 16 levels (F32); nested two more:
absmax of absmax (F32), 256 levels (F32).
"""

_Ggml: TypeAlias = tuple[str, int]
"""Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K, and the number of blocks; one part."""

_Packed: TypeAlias = tuple[
    int,  # bits of a number: 2, 4 or 8
    tuple[int, int],  # rows, columns of the weight
    Literal["columns", "rows"],  # whose neighbours share a word: GPTQ, AWQ (even ones first)
    int,  # columns of a group; negative: the number of groups, of which a part tells each column's
    str,  # dtype of scales: F16, BF16, F32
    int,  # what is added to a stored zero
]
"""Words of 32 bits, rows and columns exchanged: value = (number - zero) * scale.

Parts: numbers, zeros (packed along rows), scales, and if listed the group of each column (I32).
"""

_Matrix: TypeAlias = tuple[int, int, str, int, int]
"""Source, byte offset, dtype name, rows, columns."""

_Change: TypeAlias = tuple[
    int,  # first row of the tensor
    int,  # one past the last
    float,  # what the change is multiplied by, in its first factor
    Literal["one", "elementwise", "kronecker"],  # the latter two of two factors
    Sequence[Sequence[_Matrix]],  # factors: a matrix, or two that are multiplied
    # lengths that vectors get: source, offset, dtype, how many, whether of rows, and a weight
    tuple[int, int, str, int, bool, float] | None,
]
"""What is added to some rows: a stored matrix or a product, two products by element, or a
Kronecker product. Products are summed over the rank in float32, in order and without fusing."""

_Stored: TypeAlias = (
    tuple[int, int, str]
    | tuple[Literal["scaled"], Sequence[tuple[int, int]], _Scaled]
    | tuple[Literal["levels"], Sequence[tuple[int, int]], _Levels]
    | tuple[Literal["ggml"], Sequence[tuple[int, int]], _Ggml]
    | tuple[Literal["packed"], Sequence[tuple[int, int]], _Packed]
    | tuple[Literal["patched"], _Input, int, int, Sequence[_Change]]
)
"""A range of numbers: source index, byte offset, dtype name; or codes, with the source and offset
of each part; or a tensor, its rows and columns, and what is added to them. But for the first, a
program gets float32."""

_Input: TypeAlias = _Stored | Sequence[tuple[_Stored, int, int]]
"""A stored tensor, or segments laid one after another: (stored, its first element, how many).

Segments of one dtype are as fast as a stored tensor, but for being copied together; segments of
several are decoded to float32.
"""

_Job: TypeAlias = tuple[
    int,  # program: index into `programs`
    Sequence[_Input],  # inputs
    Sequence[float],  # scalars: one per hyperparameter of the program
    Sequence[int],  # shape of every input and of the output
    int,  # sink index
    int,  # byte offset in the sink
    str,  # output dtype name
    int,  # seed: 0 <= seed < 2**64
]
"""One tensor to compute. Only F16, BF16, F32, F64, F8_E4M3 and F8_E5M2 can be computed with."""

_Copy: TypeAlias = tuple[
    int,  # source index
    int,  # byte offset in the source
    int,  # number of bytes
    int,  # sink index
    int,  # byte offset in the sink
]
"""One range of bytes to copy unchanged."""

class NativeError(Exception):
    """Base of all errors raised by the compiled engine."""

class HeaderError(NativeError):
    """A file is not valid safetensors, or a layout cannot be written as such."""

class ProgramError(NativeError):
    """A program is malformed, or a job or copy does not fit its program, sources or sinks."""

class IoError(NativeError):
    """The operating system refused an operation, or a source is shorter than it was.

    Attributes:
        path: the file, or None (a buffer, or not known).
        errno: the error number of the operating system, or None.
    """

    path: str | None
    errno: int | None

class Cancelled(NativeError):  # noqa: N818  named for the event, as in concurrent.futures
    """The run was cancelled through :meth:`Progress.cancel`."""

class NonFiniteError(NativeError):
    """A NaN or infinity was met while ``on_nonfinite="error"``.

    Attributes:
        job: index of the job.
        input: index of the job's input, or -1: the inputs are finite and the output is not.
    """

    job: int
    input: int

@final
class Header:
    """The validated header of a safetensors file."""

    @property
    def tensors(self) -> list[tuple[str, str, tuple[int, ...], int, int]]:
        """(name, dtype, shape, begin, end) by ascending offset, counted from the file's start."""
    def __len__(self) -> int:
        """Return the number of tensors."""
    def name(self, index: int) -> str:
        """Return the name of a tensor, by its number in :attr:`tensors`."""
    def find(self, name: str) -> tuple[str, tuple[int, ...], int, int] | None:
        """Return (dtype, shape, begin, size in bytes) of the tensor of a name, if there is one."""
    def at(self, index: int) -> tuple[str, tuple[str, tuple[int, ...], int, int]]:
        """Return the name of a tensor by its number, and what :meth:`find` has for it."""
    def __contains__(self, name: str) -> bool:
        """Tell whether there is a tensor of a name."""
    def names_equal(self, other: Header) -> bool:
        """Tell whether another header has the same names, in whatever order."""
    @property
    def dtypes(self) -> list[str]:
        """The dtypes that tensors have, each once."""
    @property
    def metadata(self) -> dict[str, str]:
        """The ``__metadata__`` map; empty if the file has none."""
    @property
    def file_size(self) -> int:
        """Size of the file in bytes."""

def read_header(path: _Path) -> Header:
    """Read the header of a safetensors file and validate it to the letter of the specification.

    Raises:
        HeaderError: the file is not valid safetensors; a truncated file is named as such, with
            the size it has and the size its header asks for.
        IoError: the file cannot be read.
    """

@final
class Layout:
    """Where everything goes in a safetensors file that is to be written."""

    @property
    def size(self) -> int:
        """Size of the whole file in bytes."""
    @property
    def offsets(self) -> list[int]:
        """First byte of every tensor, in the given order, counted from the file's start."""
    @property
    def header(self) -> bytes:
        """8-byte length, and JSON padded with spaces to a multiple of 8; nothing once begun."""
    def __len__(self) -> int:
        """Return the number of tensors."""
    def name(self, index: int) -> str:
        """Return the name of a tensor, in the given order."""
    def offset_of(self, name: str) -> int:
        """Return the first byte of the tensor of a name; KeyError if there is none."""
    def begin(self, file: OutputFile) -> None:
        """Write the header into a file, and keep no more of it than where tensors lie.

        Raises:
            IoError: it could not be written.
        """
    def rewrite(
        self, file: OutputFile, before: Mapping[str, str], metadata: Mapping[str, str]
    ) -> None:
        """Write other metadata over that which the header has.

        Args:
            file: the header is in it.
            before: what is there.
            metadata: as many bytes.

        Raises:
            ValueError: it has another length.
            IoError: it could not be written.
        """

def encode_header(
    tensors: Iterable[tuple[str, str, Sequence[int]]], metadata: Mapping[str, str], room: int = 0
) -> Layout:
    """Lay out a safetensors file whose tensors follow one another in the given order.

    The same arguments give the same bytes: metadata keys are sorted.

    Args:
        tensors: (name, dtype, shape) per tensor, taken one by one; names are unique.
        metadata: written as ``__metadata__`` when not empty.
        room: bytes that the header has at least, filled with spaces: a multiple of 8.

    Raises:
        HeaderError: duplicate name, unknown dtype, size overflow, or a header over 100 MB.
    """

@final
class Program:
    """The body of a merge method: nodes in topological order, validated once.

    Kinds of value. *S*: one float64 per tensor. *E*: a float32 per element. *V*: a float32 per
    column (reduction over dim 0) or per vector of the last dim, repeated along the reduced
    axis where it meets elements, so its arithmetic is that of E. *SB* and *B*: booleans, one per
    tensor and one per element. S with S is float64 arithmetic; an S that meets an E or V is
    rounded to float32 once, then all is float32. A boolean in arithmetic counts as 0 or 1.
    The output may be of any kind; what is not E is repeated over the elements.

    Leaves (no arguments): ``input`` [i] E; ``scalar`` [i] S, hyperparameter; ``constant`` [c] S;
    ``row_index`` E, index along dim 0; ``rows`` S, size of dim 0 (1 for 0-d; a 1-d tensor of one
    element has 1); ``numel`` S; ``random_uniform`` [stream] and ``random_normal`` [stream] E.

    Unary: neg abs sign sqrt square exp log sin cos acos tanh floor ceil trunc round (half to
    even) isnan isfinite logical_not. ``sign`` of NaN is 0 and of -0 is 0, as in torch.
    Binary: add subtract multiply divide pow minimum maximum (NaN if either is) copysign less
    less_equal greater greater_equal equal not_equal logical_and logical_or.
    Ternary: where(condition, x, y).

    Reductions, constants [axis]: sum mean vector_norm min max any all, and vecdot(x, y).
    Axis -2: the whole tensor, gives S (or SB). Axis 0: over dim 0, one value per column of the
    2-d view (rows, rest). Axis -1: over the last dim. Both give V (or B), kept float32. A 0-d
    tensor counts as shape (1,). Sums accumulate in float64 in an order that depends on the shape
    alone. ``min`` and ``max`` of nothing are inf and -inf, mean of nothing is NaN. A value that
    is already V can be reduced by min, max, mean, any, all over the whole tensor only.
    ``kth_abs``(x, k), no constants: S, the k-th smallest absolute value, exact; k is an S,
    counts from 1, is truncated and then limited to 1..numel; NaN sorts last.

    Randomness: Philox4x32-10. key = (seed & 0xffffffff, seed >> 32) with the job's seed;
    counter = (q & 0xffffffff, q >> 32, stream, kind), q = index // 4 with the element's index in
    the flattened tensor, kind 0 for uniform, 1 for normal, 2 for rounding; the four words out
    belong to elements 4q .. 4q+3. Uniform and rounding: (w >> 8) * 2**-24. Normal (Box-Muller on
    words 0, 1 and 2, 3, in float64, rounded once to float32):
    r = sqrt(-2 ln(((w0 >> 8) + 1) * 2**-24)), t = 2 pi ((w1 >> 8) * 2**-24); the first element of
    the pair is r cos t, the second r sin t.

    Inputs that the output does not depend on are never read.
    """

    def __new__(
        cls, nodes: Sequence[tuple[str, Sequence[int], Sequence[float]]], output: int
    ) -> Program:
        """Validate a program.

        Args:
            nodes: (op, indices of earlier nodes, constants) per node.
            output: index of the node that is stored.

        Raises:
            ProgramError: unknown op, wrong arity, constants, kinds or indices.
        """
    @property
    def passes(self) -> int:
        """How often inputs are streamed: 1, one more per level of reductions, two for kth_abs."""
    @property
    def inputs(self) -> int:
        """Number of inputs a job must give: highest ``input`` index + 1."""
    @property
    def scalars(self) -> int:
        """Number of scalars a job must give: highest ``scalar`` index + 1."""

@final
class Progress:
    """A handle to watch and to cancel one :func:`merge` from other threads."""

    def __new__(cls) -> Progress:
        """Create a handle that has seen nothing yet."""
    @property
    def bytes_done(self) -> int:
        """Input bytes processed so far, every pass counted, and bytes copied."""
    @property
    def bytes_total(self) -> int:
        """What ``bytes_done`` will be at the end; 0 until the run has been validated."""
    @property
    def jobs_done(self) -> int:
        """Jobs whose output has been written completely."""
    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
    def cancel(self) -> None:
        """Make the run raise :class:`Cancelled` within 100 ms; has no effect once it is over."""

@final
class OutputFile:
    """A file of known size that appears under its name complete or not at all.

    Written to a locked temporary ``.{name}.{pid}-{random}.bmerge-tmp`` beside the target, whose
    space is allocated at once. Removed when dropped or garbage-collected without commit.
    """

    def __new__(cls, path: _Path, size: int, *, flushing: bool = False) -> OutputFile:
        """Create and preallocate the temporary.

        Args:
            path: the target.
            size: bytes of the whole file.
            flushing: whether the disk begins while the file is being written; for a commit with
                ``sync``, and so that little memory is full of what waits for the disk.

        Raises:
            IoError: the folder cannot be written, or there is no space (errno ENOSPC).
        """
    @staticmethod
    def rewrite(existing: _Path, path: _Path) -> OutputFile:
        """Make a file that is there the temporary of another target in its folder.

        It loses its name at once; what is not written stays as it is.

        Args:
            existing: the file.
            path: the target.

        Raises:
            IoError: it cannot be opened or renamed; it has its name then.
        """
    @property
    def path(self) -> str:
        """The target's path."""
    @property
    def temporary_path(self) -> str:
        """The temporary's path."""
    @property
    def size(self) -> int:
        """Size in bytes."""
    def write_at(self, offset: int, data: Buffer) -> None:
        """Write bytes at a position within the file.

        Raises:
            IoError: the range is outside the file, the file is finished, or the write failed.
        """
    def commit(self, sync: bool = True) -> None:
        """Rename the temporary over the target; with ``sync``, flush file and folder to disk.

        Raises:
            IoError: the file is finished already, or flushing or renaming failed (the
                temporary is removed then).
        """
    def discard(self) -> None:
        """Remove the temporary; does nothing when finished already."""

@final
class Maps:
    """Maps of source files that stay from one :func:`merge` to the next, until this is deleted.

    The latest 16 files stay mapped, as far as together they are no larger than the limit, half of
    the memory that is available if it is None; removed ones only until the next merge. What is
    mapped stays the page cache's, and the kernel takes it back when it needs memory.
    """

    def __new__(cls, limit: int | None = None) -> Maps:
        """Keep none yet; ``limit`` is in bytes."""

@final
class Findings:
    """What passes have found in source files, kept from one :func:`merge` to the next.

    Sums, norms, products and k-th values of whole tensors that lie in files as they are, by all
    that they depend on: the program, the numbers that enter, and the files, which are known by
    number, size and time of change. Nothing is kept of a file that was changed less than three
    seconds ago. About 16 MB at most; the bytes of a merge are the same with and without.
    """

    def __new__(cls) -> Findings:
        """Keep none yet."""

@final
class Report:
    """What one :func:`merge` did."""

    @property
    def nonfinite(self) -> list[tuple[int, int]]:
        """(job, input) with a NaN or infinity, sorted; input -1: finite inputs, output is not."""
    @property
    def rounded(self) -> list[tuple[int, float, float, float, float]]:
        """(job, change, arrived, size, beyond) of jobs with a base, over those that are looked at.

        Sums of the squared changes before rounding, of these changes times those after it, and
        of the squared base; and how many are beyond the largest number of an F8 output.
        """
    @property
    def bytes_read(self) -> int:
        """Bytes of inputs that were decoded, every pass counted."""
    @property
    def bytes_written(self) -> int:
        """Bytes of outputs that were computed and written."""
    @property
    def bytes_copied(self) -> int:
        """Bytes that were copied unchanged."""
    @property
    def reading(self) -> tuple[Literal["read", "mmap"], float, float] | None:
        """The faster way of reading, and nanoseconds per byte of both; None without a choice."""
    @property
    def writing(self) -> tuple[int, float, float] | None:
        """Bytes of a call to write, and nanoseconds per byte of large and small calls."""
    @property
    def threads(self) -> int:
        """Number of worker threads."""
    @property
    def vectors(self) -> Literal["portable", "avx2", "avx512"]:
        """The vector instructions that were used."""

def merge(
    *,
    programs: Sequence[Program],
    sources: Sequence[_Path | Buffer],
    sinks: Sequence[OutputFile | Buffer],
    jobs: Iterable[_Job],
    copies: Sequence[_Copy] = (),
    threads: int = 0,
    memory: int = 33_554_432,
    progress: Progress | None = None,
    on_nonfinite: Literal["error", "report"] = "error",
    io: Literal["auto", "read", "mmap"] = "auto",
    rounding: Literal["nearest", "stochastic"] = "nearest",
    wanted: Sequence[tuple[int, int]] = (),
    bases: Sequence[tuple[int, _Input, int]] = (),
    maps: Maps | None = None,
    findings: Findings | None = None,
) -> Report:
    """Run every job and copy; everything is validated before any work starts.

    The same arguments give the same bytes for any ``threads``, ``memory``, ``io`` and processor.

    Args:
        programs: what jobs refer to by index.
        sources: paths of files, opened once, or contiguous bytes-like objects.
        sinks: output files, or contiguous writable bytes-like objects. No two jobs or copies
            may write to the same bytes; no source buffer may overlap a sink.
        jobs: tensors to compute, taken one by one. Values beyond the range of an F8 output,
            infinities too, become its largest; beyond the range of F16, BF16, F32 they become
            infinity. NaN stays NaN.
        copies: byte ranges to copy.
        threads: number of worker threads; 0 = one per core.
        memory: budget in bytes for all buffers together; at least a few MB are used.
        progress: handle to watch and cancel the run; one per run.
        on_nonfinite: stop at the first NaN or infinity, or go on and report.
        io: positioned reads or memory maps for source files; "auto" takes the faster.
        rounding: of F16, BF16 and F8 outputs: to nearest even, or up or down by chance, from the
            job's seed and the element's index.
        wanted: (job, count): only the first elements of that job's output are computed and
            written, and its place in the sink has room for as many; 1 or more.
        bases: (job, input, count): what the job's output is a change of, in its
            shape; the report tells how much of the change rounding leaves, by so many elements in
            the middle of the tensor.
        maps: takes and keeps maps of source files, if all sinks are buffers and ``io`` is not
            "read".
        findings: takes what earlier merges have found, and keeps what this one finds.

    Raises:
        ProgramError: a job or copy does not fit its program, sources or sinks.
        IoError: a file cannot be opened, read or written, or is shorter than a job needs.
        NonFiniteError: see ``on_nonfinite``.
        Cancelled: through ``progress``.
        KeyboardInterrupt: signals are looked at while the run goes on (main thread only).
    """

def decode(sources: Sequence[_Path | Buffer], tensor: _Input, target: Buffer) -> None:
    """Decode a whole input of a job to float32, without a job.

    Args:
        sources: as in :func:`merge`.
        tensor: what is decoded.
        target: takes four bytes for each element, little endian; tells how many there are.

    Raises:
        ProgramError: the input does not fit its sources, or has not as many elements.
        IoError: a file cannot be opened or read, or is shorter than the input needs.
    """

def rotations(stored: Buffer, size: int, scale: float) -> bytes:
    """Return R - I of square blocks, where R = (I + Q) (I - Q)^-1, in the bytes of float32.

    Args:
        stored: the blocks, one after another, in float32; Q is a block less its transpose.
        size: rows of a block.
        scale: what Q is multiplied by.
    """

def turn_in_stages(
    values: Buffer,
    stored: Buffer | None,
    columns: int,
    turns: Buffer,
    size: int,
    count: int,
    rescale: Buffer | None,
    scale: float,
) -> None:
    """Add what rotating a matrix's rows in stages changes. All is float32.

    A block of the first stage is of rows that follow one another; of a later one it is of two
    runs of rows, which are taken in turn and are ever further apart.

    Args:
        values: what is added to.
        stored: the matrix; None: ``values``.
        columns: of the matrix.
        turns: R - I of the blocks of each stage.
        size: rows of a block.
        count: how many stages there are.
        rescale: what each row is multiplied by then, if anything.
        scale: what the change is multiplied by.

    Raises:
        ProgramError: such blocks do not rotate the matrix.
    """
