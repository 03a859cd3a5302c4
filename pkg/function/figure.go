package function

import "regexp"

// figures are those that a trigger may name without a query.
var figures = []string{FigureQueueDepth, FigureOldestAge, FigureInFlight}

// figuresOfSlimFaas has our figure for each gauge that SlimFaas has of a function's queue.
var figuresOfSlimFaas = map[string]string{
	"slimfaas_function_queue_ready_items":     FigureQueueDepth,
	"slimfaas_function_queue_in_flight_items": FigureInFlight,
}

// selector is a query of one selector on such a gauge, as it is or as the only argument of what keeps the figure: the sum or
// the largest of its one series, or its largest value of late.
var selector = regexp.MustCompile(`\A(?:(?:sum|max|avg|min)\s*\(\s*)?(?:max_over_time\s*\(\s*)?(slimfaas_\w+)\s*(?:\{\s*(?:function\s*=\s*"([^"]*)"\s*,?\s*)?\})?\s*(?:\[\w+\])?[\s)]*\z`)

// figureOf is our own figure that stands for a query of SlimFaas on the queue of the function, "" if there is none. SlimFaas reads
// a selector without the label function, and one with ${app}, as the function that is scaled.
func figureOf(query, function string) string {
	match := selector.FindStringSubmatch(query)
	if match == nil {
		return ""
	}
	if name := match[2]; name != "" && name != function && name != "${app}" {
		return ""
	}
	return figuresOfSlimFaas[match[1]]
}
