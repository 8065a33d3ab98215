"""What everybody uses: settings, errors, stage keys, locks, hashing."""
