// Package repository is the Countersign server: it takes firmware and signing events, publishes the
// image repository, keeps it fresh with the online keys, and serves it over gRPC and HTTPS
// (DESIGN 1.5, 4).
//
// Init makes a directory with an identity CA, online keys and the first operator's token; Open and
// Serve run it; Check judges all that is stored and changes nothing. Its rooms are internal. Whoever
// takes this server can withhold updates, and cannot make firmware: people's keys never come here.
package repository
