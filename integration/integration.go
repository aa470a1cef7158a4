// Package integration runs the built program against real servers:
// redis-server, Postfix, the SQS emulator fauxqs, and Redis in a container
// where an engine answers. Its tests are the list of what Sealpost promises
// when things go wrong.
//
// The helpers are packages of their own: peers starts other programs, program
// builds and runs ours, chaos kills it, house checks the source.
//
// SEALPOST_TEST_LONG=1 runs outages at full length; SEALPOST_TEST_KEEP=1 keeps
// the files of a failed test; SEALPOST_TEST_BINARY names a built program to test
// instead of building this one.
package integration
