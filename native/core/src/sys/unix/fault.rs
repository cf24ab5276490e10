//! Survives reading a memory map whose file has become shorter.
//!
//! The kernel answers such a read with SIGBUS. While maps are guarded, a handler looks whether
//! the address is in one of them, puts a page of zeros there and notes it; the reader goes on and
//! finds out afterwards. Other addresses are left to the handler that was there before.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::page::page;

/// Maps that can be guarded at the same time.
const SLOTS: usize = 256;

/// A guarded range; free while `end` is 0.
struct Slot {
    begin: AtomicUsize,
    end: AtomicUsize,
    broken: AtomicBool,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot { begin: AtomicUsize::new(0), end: AtomicUsize::new(0), broken: AtomicBool::new(false) }
}; SLOTS];

/// Who takes slots takes this; the handler only reads.
static TAKING: Mutex<()> = Mutex::new(());

static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// A place in the table.
#[derive(Debug)]
pub(super) struct Guard {
    slot: usize,
}

impl Guard {
    /// Guard a range; `None` if there is no place left.
    pub(super) fn new(begin: usize, length: usize) -> io::Result<Option<Self>> {
        let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        install()?;
        let free = TABLE.iter().position(|slot| slot.end.load(Ordering::Acquire) == 0);
        Ok(free.map(|slot| {
            TABLE[slot].broken.store(false, Ordering::Release);
            TABLE[slot].begin.store(begin, Ordering::Release);
            TABLE[slot].end.store(begin + length.next_multiple_of(page()), Ordering::Release);
            Self { slot }
        }))
    }

    /// Whether no read has failed.
    pub(super) fn intact(&self) -> bool {
        !TABLE[self.slot].broken.load(Ordering::Acquire)
    }

    /// Guard no longer.
    pub(super) fn end(&self) {
        TABLE[self.slot].end.store(0, Ordering::Release);
    }
}

/// Install the handler, once per process.
fn install() -> io::Result<()> {
    if BEFORE.get().is_some() {
        return Ok(());
    }
    let before = current()?;
    // The handler may run as soon as it is installed, so what was before is kept first.
    let _ = BEFORE.set(before);
    let mut action = before;
    action.sa_sigaction = on_bus_error as extern "C" fn(_, _, _) as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the structure is a valid one, changed to a handler with the signature it announces.
    let result = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The present action of SIGBUS.
fn current() -> io::Result<libc::sigaction> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: only asks; `action` is writable memory of the right type.
    let result = unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), action.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded and has filled the structure (which was zeroed before).
    Ok(unsafe { action.assume_init() })
}

/// The handler: only atomics and system calls.
extern "C" fn on_bus_error(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel gives a valid structure to a handler that asks for it.
    let info_ref = unsafe { &*info };
    // SAFETY: SIGBUS carries an address.
    let address = unsafe { info_ref.si_addr() }.addr();
    for slot in &TABLE {
        let range = slot.begin.load(Ordering::Acquire)..slot.end.load(Ordering::Acquire);
        if range.contains(&address) && replace_page(address) {
            slot.broken.store(true, Ordering::Release);
            return;
        }
    }
    pass_on(signal, info, context);
}

/// Put a page of zeros at an address of a guarded map.
fn replace_page(address: usize) -> bool {
    let start = ptr::without_provenance_mut(address & !(page() - 1));
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the page belongs to a guarded map, which is ours to replace and only read.
    let page = unsafe { libc::mmap(start, page(), libc::PROT_READ, flags, -1, 0) };
    ptr::eq(page, start)
}

/// Do what would have been done without this handler.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(before) = BEFORE.get() else {
        return;
    };
    let handler = before.sa_sigaction;
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // Back to the default; the read is tried again and the process dies of it, as it would.
        // SAFETY: `signal` is SIGBUS and the disposition a constant.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    } else if before.sa_flags & libc::SA_SIGINFO != 0 {
        type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: with SA_SIGINFO the number is the address of such a function.
        let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: without SA_SIGINFO the number is the address of such a function.
        let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler) };
        handler(signal);
    }
}
