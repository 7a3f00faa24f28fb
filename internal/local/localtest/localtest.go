// Package localtest gives tests a real PostgreSQL and a real Redis.
//
// One PostgreSQL cluster serves a whole test process. It starts with the first
// test that wants it and is gone, with its files, soon after the process has
// ended, however it ended. Each test has a database of its own, copied from a
// template that is migrated once, so tests may run in parallel. A Redis costs
// so little that each test has its own server.
//
// Neither is ever replaced by an imitation, and no test is skipped: a machine
// without the programs fails its tests, and the message says what to install.
package localtest
