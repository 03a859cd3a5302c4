package function

import "slices"

// Workload is what a cluster (Kubernetes, or local processes) reports about one function's workload. The scaler
// compares it with what it wants.
type Workload struct {
	Function Function
	// Watched says that the workload is no function: Function has its name and kind only, and it is never scaled. It is reported
	// because functions may depend on it.
	Watched bool
	// Problems are the annotations that were refused, one sentence each.
	Problems []string
	// Replicas is the count that the workload asks for now.
	Replicas int
	// Fixed says that the count cannot be changed: the function runs elsewhere.
	Fixed bool
	// Blocked says in a few words, always the same ones for the same cause, why the cluster gives this workload no further
	// replica now; empty while nothing is known to stand in the way. Problems, here or of a pod, have the details.
	Blocked string
	// FirstOrdinal is the number of the first replica of a StatefulSet.
	FirstOrdinal int
	// Pods are the replicas that exist, in a stable order.
	Pods []Pod
}

// Pod is one replica of a workload: a Kubernetes pod or a local process.
type Pod struct {
	Name string
	// Address is host:port, empty while there is none.
	Address string
	// Ready says that it may be called. A terminating pod is not ready.
	Ready bool
	// Problem says in words why the pod does not become ready, with its last lines of output where there are any.
	Problem string
}

// ReadyEndpoints returns the endpoints of the pods that are ready and not named in except.
func (w Workload) ReadyEndpoints(except ...string) []Endpoint {
	var ready []Endpoint
	for _, pod := range w.Pods {
		if pod.Ready && pod.Address != "" && !slices.Contains(except, pod.Name) {
			ready = append(ready, Endpoint{Replica: pod.Name, Address: pod.Address, Protocol: w.Function.Protocol})
		}
	}
	return ready
}
