// Package local runs a private PostgreSQL and a private Redis, so that nobody
// has to install or configure anything to try or to test DevFlowFix.
//
// Each server has a folder of its own, which a marker file tells from other
// people's folders and a lock keeps to one process at a time. What is in the
// folder outlives the server: a second start finds the data of the first.
//
// A server is a child of this process and never outlives it for long. It has
// a process group of its own, so that an interrupt from the terminal reaches
// only us and we stop it in order; where we have no chance to, the kernel ends
// it (Linux), or the next start in the same folder does (elsewhere).
//
// PostgreSQL refuses to run as root. Started by root it therefore runs as the
// user "postgres" or "nobody", from folders which that user can reach.
package local
