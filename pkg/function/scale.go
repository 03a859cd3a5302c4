package function

import "time"

// Scale is the annotation of that name: how many replicas the function has under load.
type Scale struct {
	// ReplicaMax bounds the count.
	ReplicaMax int `json:"ReplicaMax"`
	// ScrapeIntervalMilliseconds is how often the figures of the triggers are read.
	ScrapeIntervalMilliseconds int       `json:"ScrapeIntervalMilliseconds"`
	Triggers                   []Trigger `json:"Triggers"`
	// WakeFromZero lets the triggers start a function that has no replica, which otherwise only activity does.
	WakeFromZero bool     `json:"WakeFromZero,omitempty"`
	Behavior     Behavior `json:"Behavior"`
}

// ScrapeInterval is ScrapeIntervalMilliseconds as a duration.
func (s Scale) ScrapeInterval() time.Duration {
	return time.Duration(s.ScrapeIntervalMilliseconds) * time.Millisecond
}

// Kinds of a Trigger.
const (
	MetricAverageValue = "AverageValue"
	MetricValue        = "Value"
)

// Figures of Sluice itself, as MetricName of a Trigger without Query.
const (
	FigureQueueDepth = "queue_depth"    // calls that are queued, in flight ones too
	FigureOldestAge  = "queue_age"      // seconds that the oldest queued call has waited
	FigureInFlight   = "calls_inflight" // calls that run or are held, sync and async
)

// Trigger is one figure and the threshold that it is held against.
type Trigger struct {
	// MetricType is MetricAverageValue: ceil(value/Threshold) replicas; or MetricValue: ceil(current·value/Threshold).
	MetricType string `json:"MetricType"`
	// MetricName is a name for people, or one of the figures of Sluice when Query is empty.
	MetricName string `json:"MetricName"`
	// Query is PromQL for the Prometheus server of the installation.
	Query     string  `json:"Query,omitempty"`
	Threshold float64 `json:"Threshold"`
}

// Behavior limits how fast the count follows the figures.
type Behavior struct {
	ScaleUp   ScaleRules `json:"ScaleUp"`
	ScaleDown ScaleRules `json:"ScaleDown"`
}

// ScaleRules are those of one direction; the policy that allows the larger change holds.
type ScaleRules struct {
	StabilizationWindowSeconds int           `json:"StabilizationWindowSeconds"`
	Policies                   []ScalePolicy `json:"Policies"`
}

// Kinds of a ScalePolicy.
const (
	PolicyPercent = "Percent"
	PolicyPods    = "Pods"
)

// ScalePolicy bounds the change of the count within PeriodSeconds.
type ScalePolicy struct {
	Type          string `json:"Type"`
	Value         int    `json:"Value"`
	PeriodSeconds int    `json:"PeriodSeconds"`
}
