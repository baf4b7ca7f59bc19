package spool

// Disk is what a File writes to.
type Disk = disk

// PutBefore puts a disk before the one of a file.
func PutBefore(f *File, before func(Disk) Disk) { f.disk = before(f.disk) }
