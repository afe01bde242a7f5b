"""What makes parts of this repository from others: bounds of dependencies, pages of reference. No part of the wheel."""
