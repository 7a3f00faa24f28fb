// Package forgesim stands in for GitHub and GitLab: one stateful server with
// both APIs, for `devflowfix up` (a newcomer sees a workflow fail without an
// account anywhere) and for tests.
//
// It answers as the forges do (status codes, JSON, headers, limits) and sends
// webhooks as they do: signed, with a shared delivery id, logged, never
// repeated by itself. It keeps the traps of the real ones: a GitHub PATCH
// without the secret removes the secret, GitLab subscribes to pushes unless
// told not to, a changed URL drops GitLab's token, lists come in pages.
// What a real forge would take in silence although it is a mistake is kept as
// a Complaint, which tests can assert to be none.
//
// People log in to both by OAuth and have roles in repositories, and GitHub has
// one GitHub App: registered by hand or from a manifest, installed on accounts,
// with tokens that reach no further than was granted. Nobody checks who people
// are; all else is checked. A few tokens from the configuration may do
// everything.
//
// The package imports nothing of DevFlowFix, so it cannot share its mistakes.
//
// One mutex guards all state. API handlers run under it and return an answer;
// only sending deliveries happens outside. A run is played as the forges do:
// its deliveries go to every subscribed hook phase by phase, and Wait returns
// when nothing is under way any more.
package forgesim
