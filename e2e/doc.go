// Package e2e has the scenarios that only a real cluster can prove: Sluice is installed with its chart, called, killed and
// uninstalled, on a node that the test builds itself or on the cluster that KUBECONFIG names. It imports nothing of
// Sluice: names, routes and headers are repeated as literals, because they are the contract. What runs inside the cluster is the
// program in e2e/function.
package e2e
