package component

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
)

// runEtcd is a one-member etcd on loopback until SIGTERM. It does not wait for the disk: a killed process loses
// nothing, and a machine that goes down takes the test with it.
func runEtcd(args []string) int {
	if err := serveEtcd(args); err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		return 1
	}
	return 0
}

func serveEtcd(args []string) error {
	config, err := etcdConfig(args)
	if err != nil {
		return err
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer server.Close()
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-end:
		return nil
	case err := <-server.Err():
		return fmt.Errorf("serve: %w", err)
	}
}

func etcdConfig(args []string) (*embed.Config, error) {
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	dir := flags.String("data-dir", "", "folder of the database")
	client := flags.String("client", "", "host:port for clients")
	peer := flags.String("peer", "", "host:port for peers, of which there are none")
	if err := flags.Parse(args); err != nil {
		return nil, fmt.Errorf("parse the flags: %w", err)
	}
	config := embed.NewConfig()
	config.Dir = *dir
	config.UnsafeNoFsync = true
	config.LogLevel = "warn"
	config.ListenClientUrls = endpoint(*client)
	config.AdvertiseClientUrls = endpoint(*client)
	config.ListenPeerUrls = endpoint(*peer)
	config.AdvertisePeerUrls = endpoint(*peer)
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	return config, nil
}

func endpoint(address string) []url.URL {
	return []url.URL{{Scheme: "http", Host: address}}
}
