package node

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/sluicefaas/sluice/e2e/kube/machine"
)

// The programs' configuration, as templates with the fields of settings.
//
//go:embed config
var templates embed.FS

// settings are what the programs' files are filled with.
type settings struct {
	Dir, RunDir                      string
	Node, Address, PodCIDR, FirstPod string
	Bridge, Network, Plugins         string
	Domain, PauseImage, Socket       string
	Nameservers                      bool // the machine knows some
}

const (
	socket    = machine.RunDir + "/containerd.sock"
	cniFolder = machine.RunDir + "/cni"
)

// file is the path of a program's configuration.
func file(name string) string { return filepath.Join(machine.RunDir, name) }

// writeFiles writes every file of configuration into the node's folder.
func (n *node) writeFiles() error {
	for _, folder := range []string{cniFolder, filepath.Join(n.config.Dir, "containerd"), filepath.Join(n.config.Dir, "kubelet")} {
		if err := os.MkdirAll(folder, 0o711); err != nil {
			return fmt.Errorf("make a folder of the node: %w", err)
		}
	}
	resolver, _ := os.ReadFile("/etc/resolv.conf") // without it, only names of the cluster are known
	values := settings{
		Dir: n.config.Dir, RunDir: machine.RunDir,
		Node: Name, Address: machine.Address, PodCIDR: machine.PodCIDR, FirstPod: machine.FirstPod,
		Bridge: machine.Bridge, Network: machine.NetworkName, Plugins: machine.CNIPlugins,
		Domain: clusterDomain, PauseImage: pauseImage, Socket: socket,
		Nameservers: strings.Contains(string(resolver), "nameserver"),
	}
	parsed, err := template.ParseFS(templates, "config/*")
	if err != nil {
		return fmt.Errorf("parse the templates: %w", err)
	}
	for _, t := range parsed.Templates() {
		var text bytes.Buffer
		if err := t.Execute(&text, values); err != nil {
			return fmt.Errorf("fill %s: %w", t.Name(), err)
		}
		path := file(t.Name())
		if filepath.Ext(path) == ".conflist" {
			path = filepath.Join(cniFolder, t.Name())
		}
		if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil { //nolint:gosec // no secrets; containers read resolv.conf
			return fmt.Errorf("write a file of the node: %w", err)
		}
	}
	return nil
}
