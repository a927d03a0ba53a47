// What `cargo xtask keda` builds: KEDA's operator. There is no code of ours in this module, so `go mod tidy` would
// empty it.
module fleetgauge/keda

go 1.26.0

require github.com/kedacore/keda/v2 v2.21.0

// As KEDA's own go.mod has it: replacements are not taken over from what is required.
replace github.com/nexus-rpc/nexus-proto-annotations v0.1.0 => github.com/nexus-rpc/nexus-proto-annotations v0.1.1-0.20260629224316-835bd8d49cb4
