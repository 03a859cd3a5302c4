// Package ops is what every daemon of Sluice has besides its purpose: flags and environment, the log, metrics,
// health, an HTTP server that drains, and the one shutdown order of the house (Lifecycle). It knows nothing of functions,
// calls or NATS; services and their mains import it, and it imports none of them.
package ops
