//go:build race

package custom

// raceDetector says that this binary needs more memory than a worker gets.
const raceDetector = true
