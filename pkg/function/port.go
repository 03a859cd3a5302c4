package function

import "strconv"

// Port is one that a container of a replica declares.
type Port struct {
	// Name may be empty.
	Name string
	// Number is from 1 to 65535.
	Number int
}

// PortChoice is what the annotation Port says about which of a replica's ports takes calls. Its zero value chooses the first.
type PortChoice struct {
	key, value string
	found      bool
}

// PortFromAnnotations reads the annotation Port of a workload, in the order of Lookup.
func PortFromAnnotations(workload, template map[string]string) PortChoice {
	key, value, found := Lookup(KeyPort, workload, template)
	return PortChoice{key: key, value: value, found: found}
}

// Among returns the number of the chosen port: that of the declared one with the annotation's name, or the annotation's own number,
// which needs no declaration; without the annotation, or where its value is wrong, which the problem says, the first
// declared one. It is 0 if there is none.
func (c PortChoice) Among(declared []Port) (number int, problem *Problem) {
	for _, port := range declared {
		if c.found && c.value != "" && port.Name == c.value {
			return port.Number, nil
		}
	}
	if written, err := strconv.ParseUint(c.value, 10, 16); c.found && err == nil && written > 0 {
		return int(written), nil
	}
	if c.found {
		problem = &Problem{Key: c.key, Value: c.value, Want: "is neither a number from 1 to 65535 nor the name of a port of the pod; the first containerPort holds"}
	}
	if len(declared) == 0 {
		return 0, problem
	}
	return declared[0].Number, problem
}
