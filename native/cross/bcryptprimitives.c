/* The one function that Rust's standard library wants of a DLL which Wine 8 lacks. */
#include <windows.h>
#include <ntsecapi.h>
__declspec(dllexport) BOOL WINAPI ProcessPrng(BYTE *data, SIZE_T size) { return RtlGenRandom(data, size); }
