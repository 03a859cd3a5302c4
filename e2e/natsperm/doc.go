// Package natsperm tests the NATS server's configuration that charts/sluice renders, on a real server: each user may publish and
// subscribe to what is in a table here and is refused on everything else, accounts do not touch each other, and the limits are those
// that docs/nats.md promises. It needs no cluster and no root.
package natsperm
