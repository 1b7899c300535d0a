/* The sha256 of the sources of this library, in hexadecimal. */
#ifndef NATD_SOURCES
#define NATD_SOURCES "unknown"
#endif
const char *natd_sources(void) { return NATD_SOURCES; }
