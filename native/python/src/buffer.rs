//! The buffer protocol: bytes of other objects, pinned for a call.
//!
//! `PyO3` offers it to stable-ABI modules from Python 3.11 on, where it became part of that ABI.
//! The functions and the structure are the same in 3.10, so they are declared here.

use std::ffi::{c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi::{PyObject, Py_ssize_t};
use pyo3::prelude::*;

/// `Py_buffer`.
#[repr(C)]
struct View {
    start: *mut c_void,
    object: *mut PyObject,
    length: Py_ssize_t,
    item_size: Py_ssize_t,
    read_only: c_int,
    dimensions: c_int,
    format: *mut c_char,
    shape: *mut Py_ssize_t,
    strides: *mut Py_ssize_t,
    suboffsets: *mut Py_ssize_t,
    internal: *mut c_void,
}

const SIMPLE: c_int = 0;
const WRITABLE: c_int = 1;

// On Windows the stable ABI's library has them from Python 3.11 on.
#[cfg_attr(windows, link(name = "python3", kind = "raw-dylib"))]
extern "C" {
    fn PyObject_GetBuffer(object: *mut PyObject, view: *mut View, flags: c_int) -> c_int;
    fn PyBuffer_Release(view: *mut View);
}

/// The contiguous bytes of an object, which cannot move or go while this lives.
pub(crate) struct Buffer<'py> {
    // Boxed: exporters may keep the structure's address.
    view: Box<View>,
    python: PhantomData<Python<'py>>,
}

impl<'py> Buffer<'py> {
    /// Borrow bytes for reading.
    pub(crate) fn readable(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        Self::get(object, SIMPLE)
    }

    /// Borrow bytes for writing.
    pub(crate) fn writable(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        Self::get(object, WRITABLE)
    }

    fn get(object: &Bound<'py, PyAny>, flags: c_int) -> PyResult<Self> {
        let mut view = Box::new(MaybeUninit::<View>::zeroed());
        // SAFETY: the object is alive, the GIL is held, `view` is writable and of the right type.
        let result = unsafe { PyObject_GetBuffer(object.as_ptr(), view.as_mut_ptr(), flags) };
        if result != 0 {
            return Err(PyErr::take(object.py())
                .unwrap_or_else(|| PyBufferError::new_err("object gives no contiguous buffer")));
        }
        // SAFETY: the call succeeded and has filled the structure.
        let view = unsafe { view.assume_init() };
        Ok(Self { view, python: PhantomData })
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        let Some(start) = self.start() else {
            return &[];
        };
        // SAFETY: without a format and strides asked for, the protocol promises `length` bytes
        // from `start` on until release. Who writes to them meanwhile from another thread breaks
        // the documented contract of `merge`.
        unsafe { std::slice::from_raw_parts(start, self.view.length as usize) }
    }

    /// The bytes, for writing; only of a buffer made by [`Buffer::writable`].
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let Some(start) = self.start().filter(|_| self.view.read_only == 0) else {
            return &mut [];
        };
        // SAFETY: as in `bytes`, and the exporter granted writing.
        unsafe { std::slice::from_raw_parts_mut(start, self.view.length as usize) }
    }

    /// The first byte; `None` if there are no bytes.
    fn start(&self) -> Option<*mut u8> {
        let start: *mut u8 = self.view.start.cast();
        (self.view.length > 0 && !ptr::eq(start, ptr::null())).then_some(start)
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        // SAFETY: the view was filled by PyObject_GetBuffer and is released once; `'py` says
        // that the GIL is held.
        unsafe { PyBuffer_Release(&raw mut *self.view) };
    }
}

// SAFETY: only the bytes are used from other threads (see `bytes`); the view itself is made and
// released where `'py` lives, which outlives every borrow.
unsafe impl Sync for Buffer<'_> {}
