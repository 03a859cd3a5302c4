package main

import "regexp"

// image is what one tar holds: one static binary in an otherwise empty file system, and how it is started.
type image struct {
	// Name is that of the tar.
	Name string
	// References are registry, repository and tag, in full: container runtimes know an image by them.
	References []string
	// Package is that of the binary, which stands at /Binary.
	Package, Binary string
	// Description is for labels.
	Title, Description string
	// Stamped says that the binary has room for the version and the revision of the build (pkg/ops).
	Stamped bool
	// User is uid:gid; nothing else knows it, as there is no /etc/passwd. Empty is root.
	User string
	// Ports are documentation: 5000/tcp.
	Ports []string
	Env   []string
	Cmd   []string
	// Files are further ones, by their path.
	Files map[string]string
}

const (
	// nobody is the user of all images of ours; 65532 is the number that distroless images use.
	nobody     = "65532:65532"
	repository = "docker.io/sluicefaas/"
	natsModule = "github.com/nats-io/nats-server/v2"
)

// services are the images of Sluice itself. Each has a Dockerfile that says the same.
func services(tag string) []image {
	images := []image{
		{Name: "gateway", Description: "The HTTP API of Sluice: calls functions, or queues their calls", Ports: []string{"5000/tcp", "5001/tcp"}},
		{Name: "dispatcher", Description: "Brings the queued calls of Sluice to their functions", Ports: []string{"5001/tcp"}},
		{Name: "scaler", Description: "Scales the functions of Sluice from and to zero", Ports: []string{"5001/tcp"}},
		{Name: "jobrunner", Description: "Turns the job requests of Sluice into Jobs, each once", Ports: []string{"5001/tcp"}},
	}
	for n := range images {
		i := &images[n]
		i.References = []string{repository + i.Name + ":" + tag}
		i.Package = "./services/" + i.Name + "/cmd/" + i.Name
		i.Binary = "sluice-" + i.Name
		i.Title, i.Stamped, i.User = i.Binary, true, nobody
	}
	return images
}

// local is the image of `sluice local`, which Dockerfile.local alone builds: compose files need it, clusters do not.
func local(tag string) image {
	return image{
		Name: "local", References: []string{repository + "local:" + tag}, Package: "./services/local/cmd/sluice", Binary: "sluice",
		Title: "sluice", Description: "Sluice in one process, for functions that run already", Stamped: true, User: nobody,
		Ports: []string{"4222/tcp", "5000/tcp", "5001/tcp"}, Env: []string{"SLUICE_DATA=/data"}, Cmd: []string{"local"},
	}
}

// demos are the demo functions, by the names that the manifests in deploy/demo have for them.
func demos() []image {
	var images []image
	for _, demo := range []struct{ name, port string }{
		{"echo", "8080"}, {"fibonacci", "8080"}, {"flaky", "8080"}, {"slow", "8080"}, {"stream", "8080"}, {"slimfaas", "5000"}, {"database", "3306"}, {"batch", ""},
	} {
		var ports []string // a job has none
		if demo.port != "" {
			ports = []string{demo.port + "/tcp"}
		}
		images = append(images, image{
			Name: "demo-" + demo.name, References: []string{"docker.io/library/sluice-demo-" + demo.name + ":latest"},
			Package: "./deploy/demo/" + demo.name, Binary: demo.name, User: nobody, Ports: ports,
			Title: "sluice-demo-" + demo.name, Description: "A demo of Sluice",
		})
	}
	return images
}

// natsServer is the official image of that version as far as a user sees it: references, paths, command and ports of its
// scratch variant (github.com/nats-io/nats-docker), which runs as root unless its pod says otherwise.
func natsServer(version string) image {
	return image{
		Name: "nats", References: []string{"docker.io/library/nats:" + version, "docker.io/library/nats:" + version + "-scratch"},
		Package: natsModule, Binary: "nats-server",
		Title: "nats-server", Description: "NATS server " + version + ", built by Sluice from its published module",
		Ports: []string{"4222/tcp", "6222/tcp", "8222/tcp"},
		Env:   []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/"},
		Cmd:   []string{"--config", "nats-server.conf"},
		Files: map[string]string{"nats-server.conf": "# Clients and monitoring, without a cluster.\nport: 4222\nhttp_port: 8222\n"},
	}
}

// validTag says whether tag can be one (OCI distribution specification).
func validTag(tag string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`).MatchString(tag)
}
