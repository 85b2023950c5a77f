package digest
func serveFuse(string) int { return 1 }
