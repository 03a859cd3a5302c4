package gateway

import (
	"encoding/json"
	"fmt"
	"net"

	"github.com/sluicefaas/sluice/pkg/function"
)

// The types here are the data of the events on /status-functions-stream, with SlimFaas' names and order.

// streamState is the data of the event "state".
type streamState struct {
	Functions        []streamFunction
	Queues           []streamQueue
	Jobs             json.RawMessage // []slimFaasJob
	RecentActivity   []movement
	SlimFaasReplicas int
	SlimFaasNodes    []streamNode
	FrontEnabled     bool
	FrontMessage     *string
}

type streamQueue struct {
	Name   string
	Length uint64
}

type streamNode struct{ Name, Status string }

type streamFunction struct {
	Name                              string
	NumberReady, NumberRequested      int
	PodType, Visibility, Trust        string
	ReplicasMin, ReplicasAtStart      int
	TimeoutSecondBeforeSetReplicasMin int
	NumberParallelRequest             int
	NumberParallelRequestPerPod       int
	Resources                         *struct{} // nothing here knows them
	Schedule                          *streamSchedule
	Scale                             *function.Scale
	Retry                             streamRetries
	SubscribeEvents                   []streamSubscription
	PathsStartWithVisibility          []streamPath
	DependsOn                         []string
	Pods                              []streamPod
}

type streamSchedule struct {
	TimeZoneID string
	Default    streamTimes
}

type streamTimes struct {
	WakeUp           []string
	ScaleDownTimeout []streamTimeout
}

type streamTimeout struct {
	Time  string
	Value int
}

type streamRetries struct{ DefaultAsync, DefaultPublish streamRetry }

type streamRetry struct {
	HttpTimeout                       int
	TimeoutRetries, HttpStatusRetries []int
}

type streamSubscription struct{ Name, Visibility string }

type streamPath struct{ Path, Visibility string }

type streamPod struct {
	Name, Status string
	Ready        bool
	Ip           string
}

// streamFunctionOf is what the stream says of a function; addresses, private paths and private events are for those inside.
func streamFunctionOf(s *function.State, inside bool) streamFunction {
	f := s.Function
	status := s.Status()
	perPod := f.NumberParallelRequestPerPod
	if perPod == 0 {
		perPod = f.NumberParallelRequest
	}
	return streamFunction{
		Name: f.Name, NumberReady: status.NumberReady, NumberRequested: status.NumberRequested,
		PodType: status.PodType, Visibility: status.Visibility, Trust: string(f.DefaultTrust),
		ReplicasMin: f.ReplicasMin, ReplicasAtStart: f.ReplicasAtStart,
		TimeoutSecondBeforeSetReplicasMin: f.TimeoutSecondBeforeSetReplicasMin,
		NumberParallelRequest:             f.NumberParallelRequest, NumberParallelRequestPerPod: perPod,
		Schedule: streamScheduleOf(f), Scale: f.Scale,
		Retry:           streamRetries{streamRetryOf(f.Configuration.DefaultAsync), streamRetryOf(f.Configuration.DefaultPublish)},
		SubscribeEvents: streamSubscriptions(f, inside), PathsStartWithVisibility: streamPaths(f, inside),
		DependsOn: append([]string{}, f.DependsOn...), Pods: streamPods(s, inside),
	}
}

func streamScheduleOf(f function.Function) *streamSchedule {
	if f.Schedule == nil {
		return nil
	}
	times := streamTimes{WakeUp: []string{}, ScaleDownTimeout: []streamTimeout{}}
	for _, at := range f.Schedule.WakeUp {
		times.WakeUp = append(times.WakeUp, clock(int(at)))
	}
	for _, timeout := range f.Schedule.ScaleDownTimeout {
		times.ScaleDownTimeout = append(times.ScaleDownTimeout, streamTimeout{clock(int(timeout.Time)), timeout.Value})
	}
	return &streamSchedule{f.Schedule.TimeZoneID, times}
}

// clock writes minutes after midnight as a time of day.
func clock(minutes int) string { return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60) }

func streamRetryOf(p function.Policy) streamRetry {
	return streamRetry{p.HTTPTimeout, append([]int{}, p.TimeoutRetries...), append([]int{}, p.HTTPStatusRetries...)}
}

// streamSubscriptions leaves private events to those inside.
func streamSubscriptions(f function.Function, inside bool) []streamSubscription {
	subscriptions := []streamSubscription{}
	for _, s := range f.SubscribeEvents {
		if inside || s.Visibility == function.Public {
			subscriptions = append(subscriptions, streamSubscription{s.Event, string(s.Visibility)})
		}
	}
	return subscriptions
}

// streamPaths leaves private paths to those inside.
func streamPaths(f function.Function, inside bool) []streamPath {
	paths := []streamPath{}
	for _, rule := range f.PathVisibility {
		if inside || rule.Visibility == function.Public {
			paths = append(paths, streamPath{rule.Prefix, string(rule.Visibility)})
		}
	}
	return paths
}

func streamPods(s *function.State, addresses bool) []streamPod {
	pods := []streamPod{}
	for _, endpoint := range s.Endpoints {
		pod := streamPod{Name: endpoint.Replica, Status: "Running", Ready: true}
		if addresses {
			pod.Ip = hostOf(endpoint.Address)
		}
		pods = append(pods, pod)
	}
	return pods
}

// hostOf is the host of host:port.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
