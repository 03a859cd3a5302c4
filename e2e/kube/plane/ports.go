package plane

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
)

// Ports are drawn from a range below those that Linux gives to outgoing connections (32768 and up) and to node ports
// (30000 and up), so that nobody takes one by chance while the API server is stopped.
const (
	firstPort = 20000
	lastPort  = 29999
	tries     = 100
)

// ports of one cluster. They stay the same over a restart, so that kubeconfig files stay good.
type ports struct {
	API        int `json:"api"`
	EtcdClient int `json:"etcdClient"`
	EtcdPeer   int `json:"etcdPeer"`
}

// openPorts reads the ports from the file, or draws free ones and writes it.
func openPorts(path string) (ports, error) {
	var kept ports
	text, err := os.ReadFile(path)
	if err == nil {
		if err := json.Unmarshal(text, &kept); err != nil {
			return ports{}, fmt.Errorf("parse %s: %w", path, err)
		}
		return kept, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return ports{}, fmt.Errorf("read the ports: %w", err)
	}
	free, err := freePorts(3)
	if err != nil {
		return ports{}, err
	}
	drawn := ports{API: free[0], EtcdClient: free[1], EtcdPeer: free[2]}
	if text, err = json.Marshal(drawn); err != nil {
		return ports{}, fmt.Errorf("encode the ports: %w", err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return ports{}, fmt.Errorf("write the ports: %w", err)
	}
	return drawn, nil
}

// freePorts draws ports on which nobody listens at the moment.
func freePorts(count int) ([]int, error) {
	var free []int
	for range tries {
		port := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // no secret
		// The wildcard address conflicts with a listener on any address. It is kept until all are drawn.
		listener, err := net.Listen("tcp", ":"+strconv.Itoa(port)) //nolint:noctx // returns at once
		if err != nil {
			continue
		}
		defer listener.Close()
		if free = append(free, port); len(free) == count {
			return free, nil
		}
	}
	return nil, fmt.Errorf("draw free ports: %d tries between %d and %d gave %d of %d", tries, firstPort, lastPort, len(free), count)
}
