module k8s.io/sample-nothing

go 1.26.0
