"""Find flagellar motors in cryo-electron tomograms of bacteria."""
