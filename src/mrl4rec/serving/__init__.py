"""What leaves the warehouse: exports, the registry of champions, promotion."""
